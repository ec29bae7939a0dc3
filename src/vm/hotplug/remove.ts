import { ApiError } from '../../api/errors.ts';
import { withoutDevice } from '../../config/merge.ts';
import { deviceItems } from '../../config/items.ts';
import { qemuId, removePlacement, type Placement } from '../../machine/placement.ts';
import { planDevice } from '../../machine/plan.ts';
import type { QmpEvent } from '../../qemu/qmp.ts';
import { backendsOf, dropSteps } from '../../qemu/steps.ts';
import { createLog } from '../../util/log.ts';
import { reasonOf } from '../../util/errno.ts';
import type { Run } from '../run.ts';
import type { Vm } from '../vm.ts';

const log = createLog('hotplug');

/** Of the PCI function that carries a virtio device; its name means the device as well. */
const CARRIER = '_virtio-pci-';

/**
 * Takes a device out of the configuration, and asks the guest to let it go where one runs. What the device had
 * is given back when the guest has ejected it ({@link onDeviceDeleted}); until then it is marked as leaving, and asking
 * again asks the guest again.
 * Rejects with ApiError `unknown-device`, or `invalid-config` for a device that every machine keeps.
 */
export async function removeDevice(vm: Vm, name: string): Promise<void> {
  const id = name.startsWith(CARRIER) ? name.slice(CARRIER.length) : name;
  if (vm.live === undefined) return removeFromConfig(vm, id);
  const { run } = vm.live;
  const placement = run.layout.placements.find((one) => one.id === id);
  if (placement === undefined) throw unknownDevice(name);
  checkRemovable(placement);
  await run.qemu.qmp.execute('device_del', { id: qemuId(id) }).catch((error: unknown) => {
    throw new ApiError('failed', `${id}: the guest could not be asked to let it go`, { cause: error });
  });
  run.leaving.add(id);
  vm.config = withoutDevice(vm.config, placement.device, id);
}

/** QEMU's event is about a device that is out for a moment only. It comes before the answer by which the device is back. */
export function isAbsent({ absent }: Run, { device }: QmpEvent['data']): boolean {
  return typeof device === 'string' && absent.has(device);
}

/**
 * The guest has ejected something: QEMU's event names it by its id, where it has one, and by its path.
 * @returns the device, where it was one
 */
export async function onDeviceDeleted(
  run: Run,
  { device, path }: QmpEvent['data'],
): Promise<Placement | undefined> {
  if (typeof path === 'string') run.leavingVcpus.delete(path);
  return typeof device === 'string' ? forgetDevice(run, device) : undefined;
}

/** The device's slot, its id and all that it was given are free again. */
async function forgetDevice(run: Run, engineId: string): Promise<Placement | undefined> {
  const placement = run.layout.placements.find(({ id }) => qemuId(id) === engineId);
  if (placement === undefined) return undefined;
  const { id } = placement;
  const steps = planDevice(placement, run.preparations.facts().get(id));
  await dropSteps(run.qemu.qmp, backendsOf(steps)).catch((error: unknown) => {
    log.warn(`${id}: its back-end could not be taken away: ${reasonOf(error)}`);
  });
  await run.preparations.release(id);
  run.layout = removePlacement(run.layout, id);
  run.hostPorts = new Map([...run.hostPorts].filter(([net]) => net !== id));
  run.leaving.delete(id);
  log.info(`${id}: the guest has let it go`);
  return placement;
}

function removeFromConfig(vm: Vm, id: string): void {
  const item = deviceItems(vm.config).find((one) => one.id === id);
  if (item === undefined) throw unknownDevice(id);
  vm.config = withoutDevice(vm.config, item.device, id);
}

function checkRemovable({ device, id }: Placement): void {
  if (device.removable) return;
  throw new ApiError('invalid-config', `${id}: ${device.member} cannot be removed while the VM runs`);
}

function unknownDevice(id: string): ApiError {
  return new ApiError('unknown-device', `No device is called "${id}"`);
}
