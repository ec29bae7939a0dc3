/*
 * The list of devices, one line a kind. One folder is one kind of device: `config.ts` its schema, `rules.ts` the checks of one such
 * device, `plan.ts` its steps for QEMU, `index.ts` the value with all traits, which `device.ts` documents. To add a kind: a
 * folder, and a line here. Its actions on the host are in `vm/devices/<kind>/`.
 *
 * `table.ts` is the list as values and types; every other list of devices derives from it. The order here has no effect:
 * each kind has its positions in `order`.
 */
export { cpus } from './cpus/index.ts';
export { memory } from './memory/index.ts';
export { numa } from './numa/index.ts';
export { platform } from './platform/index.ts';
export { sgxEpc } from './sgx-epc/index.ts';
export { pciSegments } from './pci-segments/index.ts';
export { rateLimitGroup } from './rate-limit-group/index.ts';
export { serial } from './serial/index.ts';
export { console } from './console/index.ts';
export { debugConsole } from './debug-console/index.ts';
export { disk } from './disk/index.ts';
export { net } from './net/index.ts';
export { rng } from './rng/index.ts';
export { fs } from './fs/index.ts';
export { pmem } from './pmem/index.ts';
export { vsock } from './vsock/index.ts';
export { virtioMem } from './virtio-mem/index.ts';
export { balloon } from './balloon/index.ts';
export { watchdog } from './watchdog/index.ts';
export { pvpanic } from './pvpanic/index.ts';
export { ivshmem } from './ivshmem/index.ts';
export { vfio } from './vfio/index.ts';
export { iommu } from './iommu/index.ts';
export { tpm } from './tpm/index.ts';
export { landlock } from './landlock/index.ts';
export { landlockRules } from './landlock/index.ts';
export { userDevice } from './unsupported/index.ts';
export { vdpa } from './unsupported/index.ts';
export { genericVhostUser } from './unsupported/index.ts';
export { pvmemcontrol } from './unsupported/index.ts';
