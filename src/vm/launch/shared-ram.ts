import { ApiError } from '../../api/errors.ts';
import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import type { RamRegion } from '../../devices/memory/plan.ts';
import { needsSharedMemory } from '../../devices/common/step.ts';
import type { Placement } from '../../plan/placement.ts';
import { planDevice } from '../../plan/machine-plan.ts';

/** The machine that a plan is checked for. */
interface Checked {
  readonly placements: readonly Placement[];
  /** of the host, by device */
  readonly facts: ReadonlyMap<string, unknown>;
  readonly regions: readonly RamRegion[];
}

/**
 * Checks that the back-ends of devices see the RAM that the guest writes.
 * @throws ApiError naming the device and the memory zone that is private
 */
export function checkSharedRam(plan: MachinePlan, { placements, facts, regions }: Checked): void {
  const hidden = privateZone(plan, regions);
  if (hidden === undefined) return;
  for (const placement of placements) {
    const { device, id } = placement;
    if (!needsSharedMemory(planDevice(placement, facts.get(id)))) continue;
    const name = `${device.flag ?? device.member} ${id}`;
    throw new ApiError('failed', `${name}: memory zone ${hidden} has a file and is not shared`);
  }
}

function privateZone({ steps }: MachinePlan, regions: readonly RamRegion[]): string | undefined {
  const zones = new Map(regions.map(({ id, zones }) => [id, zones[0]]));
  for (const { kind, props } of steps.filter((step) => step.kind === 'object')) {
    if (kind !== 'object' || props['qom-type'] !== 'memory-backend-file' || props['share'] === true) continue;
    const zone = zones.get(props.id);
    if (zone !== undefined) return zone;
  }
  return undefined;
}
