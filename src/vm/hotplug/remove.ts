import { ApiError } from '../../api/errors.ts';
import { withoutDevice } from '../../config/merge.ts';
import { deviceItems } from '../../config/items.ts';
import { qemuId, type Placement } from '../../plan/placement.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { untilSettled } from './settle.ts';

/** Of the PCI function that carries a virtio device; its name means the device as well. */
const CARRIER = '_virtio-pci-';

/** After this time a guest that was asked to release a device and has not done it is asked again, in milliseconds. */
const ASK_AGAIN_MS = 1000;

/**
 * Takes a device out of what the next boot starts from, and asks the guest to release it where one runs. What the device had
 * is given back when the guest has ejected it (`ejected.ts`); until then it is marked as leaving, vm.info lists it, and a
 * further call asks the guest again.
 * Rejects with ApiError `unknown-device`, or `invalid-config` for a device that every machine keeps.
 */
export async function removeDevice(vm: Vm, name: string, { waits }: ShutdownSignals): Promise<void> {
  const id = name.startsWith(CARRIER) ? name.slice(CARRIER.length) : name;
  if (vm.live === undefined) return removeFromConfig(vm, id);
  const { machine } = vm.live;
  const placement = machine.layout.placements.find((one) => one.id === id);
  if (placement === undefined) throw unknownDevice(name);
  checkRemovable(placement);
  await untilSettled(vm, waits);
  if (machine.layout.placements.includes(placement)) await askForRelease(machine, id);
  vm.config = withoutDevice(vm.config, placement.device, id);
}

async function askForRelease(machine: Machine, id: string): Promise<void> {
  // a guest that handles a first request would take a second one for a device that is in the slot afterwards
  if (performance.now() - (machine.detaching.get(id) ?? -Infinity) < ASK_AGAIN_MS) return;
  await machine.qemu.qmp.execute('device_del', { id: qemuId(id) }).catch((error: unknown) => {
    throw new ApiError('failed', `${id}: the guest could not be asked to release it`, { cause: error });
  });
  machine.detaching.set(id, performance.now());
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
