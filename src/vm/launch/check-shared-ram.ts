import { ApiError } from '../../api/errors.ts';
import { needsSharedMemory } from '../../devices/common/step.ts';
import type { PlannedMachine } from './planned-machine.ts';

/**
 * Checks that the RAM is shared with the back-ends of devices, if any need it.
 * @throws ApiError naming the device and the memory zone that is private
 */
export function checkSharedRam(planned: PlannedMachine): void {
  const hidden = privateZone(planned);
  if (hidden === undefined) return;
  for (const { device, id } of planned.layout.placements) {
    if (!needsSharedMemory(planned.deviceSteps.get(id) ?? [])) continue;
    const name = `${device.flag ?? device.member} ${id}`;
    throw new ApiError('failed', `${name}: memory zone ${hidden} has a file and is not shared`);
  }
}

function privateZone({ plan, ram }: PlannedMachine): string | undefined {
  const zones = new Map(ram.regions.map(({ id, zones }) => [id, zones[0]]));
  for (const { kind, props } of plan.steps.filter((step) => step.kind === 'object')) {
    if (kind !== 'object' || props['qom-type'] !== 'memory-backend-file' || props['share'] === true) continue;
    const zone = zones.get(props.id);
    if (zone !== undefined) return zone;
  }
  return undefined;
}
