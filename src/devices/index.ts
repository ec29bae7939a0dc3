import { balloon } from './balloon/index.ts';
import { console } from './console/index.ts';
import { cpus } from './cpus/index.ts';
import { debugConsole } from './debug-console/index.ts';
import type { Device, DeviceOrder } from './device.ts';
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

/*
 * The table of devices. One folder is one kind of device: `config.ts` its schema, `rules.ts` the checks of one such device,
 * `plan.ts` its steps for QEMU, `index.ts` the value with all traits (`device.ts` documents them). To add a kind: a folder, an
 * import and a row here. What must be found or made on the host for it is in `vm/devices/<kind>/` (a row in `vm/devices/index.ts`).
 */

/** Every kind of device. PCI slots are given in this order, each kind in the order of the configuration: guests rely on it. */
const TABLE = [
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
] as const;

export const DEVICES: readonly Device[] = TABLE;

type Row = (typeof TABLE)[number];

/** Members of VmConfig that describe devices, with their fields. */
export type DeviceFields = { readonly [R in Row as R['member']]: R['field'] };

/** Add requests of all kinds that have one. */
export type HotAddRow = NonNullable<Row['hotAdd']>;

/** Returns the table in another order than that of the slots. */
export function devicesInOrder(of: keyof DeviceOrder): readonly Device[] {
  return DEVICES.toSorted((a, b) => positionIn(of, a) - positionIn(of, b));
}

/** Returns the position of a device in a list that clients see; devices without one come last. */
export function positionIn(list: keyof DeviceOrder, { order }: Device): number {
  return order?.[list] ?? Number.MAX_SAFE_INTEGER;
}
