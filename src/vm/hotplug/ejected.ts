import { qemuId, removePlacement, type Placement } from '../../plan/placement.ts';
import { backendsOf, removeSteps } from '../../qemu/qmp/steps.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import type { Machine } from '../machine.ts';
import { restartReleaseTimes } from './release-times.ts';

const log = createLog('hotplug');

/**
 * Records that the guest has ejected a device, which QEMU's event names by its id.
 * @returns true if {@link releaseEjected} has a device to release
 */
export function noteEjected(machine: Machine, device: string | undefined): boolean {
  // a hidden device is ejected by the VMM and attached again
  if (device === undefined || machine.hidden.has(device)) return false;
  const placement = machine.layout.placements.find(({ id }) => qemuId(id) === device);
  if (placement !== undefined) machine.ejected.add(placement);
  return placement !== undefined;
}

/** Releases ids, slots, back-ends and host resources of the devices that the guest has ejected. */
export async function releaseEjected(machine: Machine): Promise<void> {
  for (const placement of [...machine.ejected]) {
    await release(machine, placement);
    machine.ejected.delete(placement);
    machine.onDetached(placement);
  }
}

async function release(machine: Machine, placement: Placement): Promise<void> {
  const { id } = placement;
  const steps = machine.deviceSteps.get(id) ?? [];
  await removeSteps(machine.qemu.qmp, backendsOf(steps)).catch((error: unknown) => {
    log.warn(`${id}: its back-end could not be removed: ${reasonOf(error)}`);
  });
  await machine.preparations.release(id);
  machine.deviceSteps.delete(id);
  const wasAsked = machine.detaching.has(id);
  machine.layout = removePlacement(machine.layout, id);
  machine.hostPorts = new Map([...machine.hostPorts].filter(([net]) => net !== id));
  machine.detaching.delete(id);
  if (!machine.hasReleased) restartReleaseTimes(machine);
  machine.hasReleased = true;
  if (wasAsked) log.info(`${id}: the guest has released it`);
  else log.warn(`${id}: the guest has ejected it by itself: the VM has it no longer`);
}
