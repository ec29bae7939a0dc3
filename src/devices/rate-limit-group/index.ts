import { beyond, optional, struct, type ValueOf } from '../../schema/field.ts';
import { list, nested, text } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { rateLimiterConfig, type RateLimiterConfig } from '../common/rate-limit.ts';
import type { ObjectStep } from '../common/step.ts';
import { LIMITED, limitStep } from '../disk/throttle.ts';

/** A rate limit that several disks share. */
export interface RateLimitGroupConfig extends ValueOf<typeof RateLimitGroupConfig> {}
export const RateLimitGroupConfig = struct({
  name: 'RateLimitGroupConfig',
  doc: 'A rate limit that several disks share: those whose `rate_limit_group` is its id',
  fields: {
    id: text('Name of the group', '<id>'),
    rate_limiter_config: rateLimiterConfig,
  },
});

export const rateLimitGroup = defineDevice({
  member: 'rate_limit_groups',
  field: beyond(optional(list(nested(RateLimitGroupConfig)))),
  struct: RateLimitGroupConfig,
  many: true,
  flag: 'rate-limit-group',
  ids: undefined,
  takesSlot: false,
  removable: false,
  editable: 'all',
});

/** The limits that a disk shares with others. */
export interface SharedLimits {
  /** what the engine's groups are called after: the names of users are not in its alphabet */
  readonly name: string;
  readonly limits: RateLimiterConfig;
}

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
