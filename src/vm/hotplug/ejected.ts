import { qemuId, removePlacement, type Placement } from '../../machine/placement.ts';
import { planDevice } from '../../machine/plan.ts';
import type { QmpEvent } from '../../qemu/qmp.ts';
import { backendsOf, dropSteps } from '../../qemu/steps.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import type { Run } from '../run.ts';
import { restartPatience } from './patience.ts';

const log = createLog('hotplug');

/**
 * Notes that the guest has released a device: QEMU's event names it by its id.
 * @returns whether there is a device for {@link giveBackEjected}
 */
export function noteEjected(run: Run, { device }: QmpEvent['data']): boolean {
  // one that is taken out for a moment is not released: the event comes before the answer by which it is back
  if (typeof device !== 'string' || run.absent.has(device)) return false;
  const placement = run.layout.placements.find(({ id }) => qemuId(id) === device);
  if (placement !== undefined) run.ejected.add(placement);
  return placement !== undefined;
}

/** Frees the slots and ids of devices that the guest has released, and all that they were given. */
export async function giveBackEjected(run: Run): Promise<void> {
  for (const placement of [...run.ejected]) {
    await giveBack(run, placement);
    run.ejected.delete(placement);
    run.tellRemoved(placement);
  }
}

async function giveBack(run: Run, placement: Placement): Promise<void> {
  const { id } = placement;
  const steps = planDevice(placement, run.preparations.facts().get(id));
  await dropSteps(run.qemu.qmp, backendsOf(steps)).catch((error: unknown) => {
    log.warn(`${id}: its back-end could not be removed: ${reasonOf(error)}`);
  });
  await run.preparations.release(id);
  const wasAsked = run.leaving.has(id);
  run.layout = removePlacement(run.layout, id);
  run.hostPorts = new Map([...run.hostPorts].filter(([net]) => net !== id));
  run.leaving.delete(id);
  if (!run.hasReleased) restartPatience(run);
  run.hasReleased = true;
  if (wasAsked) log.info(`${id}: the guest has released it`);
  else log.warn(`${id}: the guest has ejected it by itself: the VM has it no longer`);
}
