import type { ObjectStep } from '../common/step.ts';
import { LIMITED, limitStep, type SharedLimits } from '../common/throttle-group.ts';
import type { RateLimitGroupConfig } from './config.ts';

/** A VM's groups as its disks look for them. */
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

/** What QEMU makes for the groups, before any disk. */
export function planGroups(groups: readonly RateLimitGroupConfig[] = []): ObjectStep[] {
  return [...sharedLimits(groups).values()].flatMap(planGroup);
}

/** What QEMU makes for one group. */
export function planGroup({ name, limits }: SharedLimits): ObjectStep[] {
  return LIMITED.flatMap((kind) => limitStep(name, kind, limits[kind]) ?? []);
}
