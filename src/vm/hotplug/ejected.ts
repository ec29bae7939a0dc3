import { qemuId, removePlacement, type Placement } from '../../plan/placement.ts';
import { planDevice } from '../../plan/machine-plan.ts';
import { backendsOf, removeSteps } from '../../qemu/qmp/steps.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import type { Machine } from '../machine.ts';
import { restartPatience } from './patience.ts';

const log = createLog('hotplug');

/**
 * Notes that the guest has released a device: QEMU's event names it by its id.
 * @returns whether there is a device for {@link releaseEjected}
 */
export function noteEjected(machine: Machine, device: string | undefined): boolean {
  // one that is taken out for a moment is not released: the event comes before the answer by which it is back
  if (device === undefined || machine.hidden.has(device)) return false;
  const placement = machine.layout.placements.find(({ id }) => qemuId(id) === device);
  if (placement !== undefined) machine.ejected.add(placement);
  return placement !== undefined;
}

/** Frees the slots and ids of devices that the guest has released, and all that they were given. */
export async function releaseEjected(machine: Machine): Promise<void> {
  for (const placement of [...machine.ejected]) {
    await giveBack(machine, placement);
    machine.ejected.delete(placement);
    machine.onDetached(placement);
  }
}

async function giveBack(machine: Machine, placement: Placement): Promise<void> {
  const { id } = placement;
  const steps = planDevice(placement, machine.preparations.facts().get(id));
  await removeSteps(machine.qemu.qmp, backendsOf(steps)).catch((error: unknown) => {
    log.warn(`${id}: its back-end could not be removed: ${reasonOf(error)}`);
  });
  await machine.preparations.release(id);
  const wasAsked = machine.detaching.has(id);
  machine.layout = removePlacement(machine.layout, id);
  machine.hostPorts = new Map([...machine.hostPorts].filter(([net]) => net !== id));
  machine.detaching.delete(id);
  if (!machine.hasReleased) restartPatience(machine);
  machine.hasReleased = true;
  if (wasAsked) log.info(`${id}: the guest has released it`);
  else log.warn(`${id}: the guest has ejected it by itself: the VM has it no longer`);
}
