import { balloon } from './balloon.ts';
import { console } from './console.ts';
import { cpus } from './cpus.ts';
import { debugConsole } from './debug-console.ts';
import type { Device } from './device.ts';
import { disk } from './disk.ts';
import { fs } from './fs.ts';
import { iommu } from './iommu.ts';
import { ivshmem } from './ivshmem.ts';
import { landlock, landlockRules } from './landlock.ts';
import { memory } from './memory.ts';
import { net } from './net.ts';
import { genericVhostUser, pvmemcontrol, userDevice, vdpa } from './not-in-engine.ts';
import { numa } from './numa.ts';
import { pciSegments } from './pci-segments.ts';
import { platform } from './platform.ts';
import { pmem } from './pmem.ts';
import { pvpanic } from './pvpanic.ts';
import { rateLimitGroup } from './rate-limit-group.ts';
import { rng } from './rng.ts';
import { serial } from './serial.ts';
import { sgxEpc } from './sgx-epc.ts';
import { tpm } from './tpm.ts';
import { vfio } from './vfio.ts';
import { virtioMem } from './virtio-mem.ts';
import { vsock } from './vsock.ts';
import { watchdog } from './watchdog.ts';

/**
 * Every kind of device. Those that take a PCI slot get them in the order of this table, each kind in the order
 * of the configuration; clients and guests count on it.
 */
export const DEVICES: readonly Device[] = [
  cpus,
  memory,
  numa,
  platform,
  sgxEpc,
  pciSegments,
  rateLimitGroup,
  serial,
  console,
  debugConsole,
  disk,
  net,
  rng,
  fs,
  pmem,
  vsock,
  virtioMem,
  balloon,
  watchdog,
  pvpanic,
  ivshmem,
  vfio,
  iommu,
  tpm,
  landlock,
  landlockRules,
  userDevice,
  vdpa,
  genericVhostUser,
  pvmemcontrol,
];
