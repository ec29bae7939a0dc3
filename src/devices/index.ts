import { balloon } from './balloon/index.ts';
import { console } from './console/index.ts';
import { cpus } from './cpus/index.ts';
import { debugConsole } from './debug-console/index.ts';
import type { Device } from './device.ts';
import { disk } from './disk/index.ts';
import { fs } from './fs/index.ts';
import { iommu } from './iommu/index.ts';
import { ivshmem } from './ivshmem/index.ts';
import { landlock, landlockRules } from './landlock/index.ts';
import { memory } from './memory/index.ts';
import { net } from './net/index.ts';
import { genericVhostUser, pvmemcontrol, userDevice, vdpa } from './unsupported/index.ts';
import { numa } from './numa/index.ts';
import { pciSegments } from './pci-segments/index.ts';
import { platform } from './platform/index.ts';
import { pmem } from './pmem/index.ts';
import { pvpanic } from './pvpanic/index.ts';
import { rateLimitGroup } from './rate-limit-group/index.ts';
import { rng } from './rng/index.ts';
import { serial } from './serial/index.ts';
import { sgxEpc } from './sgx-epc/index.ts';
import { tpm } from './tpm/index.ts';
import { vfio } from './vfio/index.ts';
import { virtioMem } from './virtio-mem/index.ts';
import { vsock } from './vsock/index.ts';
import { watchdog } from './watchdog/index.ts';

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
