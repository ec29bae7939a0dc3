import { ApiError } from '../../api/errors.ts';
import { needsMapping, needsSharedMemory, type ObjectStep } from '../../devices/common/step.ts';
import type { PlannedMachine } from './planned-machine.ts';

/**
 * Checks that the RAM is shared with the back-ends of devices, if any need it. A private mapping of a snapshot is enough for threads of the
 * VMM.
 * @throws ApiError naming the device and the memory zone that is private
 */
export function checkSharedRam(planned: PlannedMachine): void {
  const hidden = privateZones(planned);
  if (hidden.length === 0) return;
  for (const { device, id } of planned.layout.placements) {
    const steps = planned.deviceSteps.get(id) ?? [];
    const zone = hidden.find(({ isSnapshot }) =>
      isSnapshot ? needsMapping(steps) : needsSharedMemory(steps),
    );
    if (zone === undefined) continue;
    const name = `${device.flag ?? device.member} ${id}`;
    throw new ApiError('failed', `${name}: memory zone ${zone.id} has a file and is not shared`);
  }
}

/** A memory zone with a private mapping of a file. */
interface PrivateZone {
  readonly id: string;
  /** the file is a snapshot's */
  readonly isSnapshot: boolean;
}

function privateZones({ plan, ram }: PlannedMachine): PrivateZone[] {
  const zones = new Map(ram.regions.map(({ id, zones: [zone] }) => [id, zone]));
  return plan.steps.flatMap((step) => {
    if (step.kind !== 'object' || !isPrivateFile(step)) return [];
    const id = zones.get(step.props.id);
    return id === undefined ? [] : [{ id, isSnapshot: isSnapshotFile(step) }];
  });
}

function isPrivateFile({ props }: ObjectStep): boolean {
  return props['qom-type'] === 'memory-backend-file' && props['share'] !== true;
}

/** Returns whether RAM is a private mapping of a snapshot's file, which is opened read-only. */
export function isSnapshotFile(step: ObjectStep): boolean {
  return isPrivateFile(step) && step.props['readonly'] === true;
}
