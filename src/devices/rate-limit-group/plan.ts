import type { ObjectStep } from '../common/step.ts';
import { LIMITED, limitStep, type SharedLimits } from '../common/throttle-group.ts';
import type { RateLimitGroupConfig } from './config.ts';

/** Returns the limits of a VM's rate limit groups, by the ids that disks refer to. */
export function sharedLimits(
  groups: readonly RateLimitGroupConfig[] = [],
): ReadonlyMap<string, SharedLimits> {
  return new Map(
    groups.map(({ id, rate_limiter_config: limits = { bandwidth: undefined, ops: undefined } }, i) => [
      id,
      { name: `shared${i}`, limits },
    ]),
  );
}

/** Plans the throttle groups of all rate limit groups: QEMU makes them before any disk. */
export function planGroups(groups: readonly RateLimitGroupConfig[] = []): ObjectStep[] {
  return [...sharedLimits(groups).values()].flatMap(planGroup);
}

/** Plans the throttle groups of one rate limit group. */
export function planGroup({ name, limits }: SharedLimits): ObjectStep[] {
  return LIMITED.flatMap((kind) => limitStep(name, kind, limits[kind]) ?? []);
}
