import { ApiError } from '../../api/errors.ts';
import { withoutDevice } from '../../config/merge.ts';
import { deviceItems } from '../../config/items.ts';
import { qemuId, type Placement } from '../../plan/placement.ts';
import type { RunningOperation } from '../../util/operation-tracker.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { untilNoPendingRelease } from './pending-releases.ts';

/** Prefix of a virtio device's PCI function in vm.info. The name of that function is a second name of the device. */
const CARRIER = '_virtio-pci-';

/** A device that the guest is to release. */
export interface RemovedDevice {
  readonly machine: Machine;
  readonly placement: Placement;
}

/** Time after which a guest that has not released a device is asked again, in milliseconds. */
const ASK_AGAIN_MS = 1000;

/**
 * Removes a device from the configuration, and asks the guest of a booted VM to release it. Its host resources are released when the
 * guest has ejected it (`ejected.ts`); until then it is `detaching`, vm.info lists it, and a further call asks the guest again.
 * Rejects with ApiError `unknown-device`, or `invalid-config` for a device that cannot be removed.
 * @returns the device that the guest is to release; undefined if there is no guest
 */
export async function removeDevice(
  vm: Vm,
  name: string,
  { waits, tracker }: RunningOperation,
): Promise<RemovedDevice | undefined> {
  const id = name.startsWith(CARRIER) ? name.slice(CARRIER.length) : name;
  if (vm.booted === undefined) {
    removeFromConfig(vm, id);
    return undefined;
  }
  const { machine } = vm.booted;
  const placement = machine.layout.placements.find((one) => one.id === id);
  if (placement === undefined) throw unknownDevice(name);
  checkRemovable(placement);
  await untilNoPendingRelease(vm, waits);
  tracker.commit(`The guest is asked to release ${id}: the request cannot be withdrawn`);
  if (machine.layout.placements.includes(placement)) await askForRelease(machine, id);
  vm.config = withoutDevice(vm.config, placement.device, id);
  return { machine, placement };
}

async function askForRelease(machine: Machine, id: string): Promise<void> {
  // a guest that has handled the first request would apply a second one to the next device in the slot
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
