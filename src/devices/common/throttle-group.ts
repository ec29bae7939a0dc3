import { rateOf, type RateLimiterConfig, type TokenBucket } from './rate-limit.ts';
import type { ObjectStep, StepProps } from './step.ts';

/*
 * Throttle groups of QEMU's block layer: the objects that hold the limits of one disk, or of the disks of a rate limit group.
 */

/** Limits that several disks share. */
export interface SharedLimits {
  /** prefix of the ids of QEMU's throttle groups: a group's own id may have characters that QEMU refuses */
  readonly name: string;
  readonly limits: RateLimiterConfig;
}

/** QEMU's names for the units that a bucket counts. */
const COUNTED = { bandwidth: 'bps', ops: 'iops' } as const;
type Kind = keyof typeof COUNTED;

/** The kinds of limits, in the order of the filters. */
export const LIMITED = ['ops', 'bandwidth'] as const satisfies readonly Kind[];

/** Returns QEMU's throttle group for one bucket; undefined if the bucket has no limit. */
export function limitStep(name: string, kind: Kind, bucket: TokenBucket | undefined): ObjectStep | undefined {
  const rate = bucket === undefined ? undefined : rateOf(bucket);
  if (bucket === undefined || rate === undefined) return undefined;
  const { size, one_time_burst: tokens = 0 } = bucket;
  const id = `${name}.${kind}-limit`;
  const lasting = limitsOf(kind, rate, size);
  if (tokens === 0) return { kind: 'object', props: { 'qom-type': 'throttle-group', id, limits: lasting } };
  const limits = limitsOf(kind, rate, Math.max(tokens, Math.ceil(rate)));
  return {
    kind: 'object',
    props: { 'qom-type': 'throttle-group', id, limits },
    burst: { counts: kind === 'ops' ? 'ops' : 'bytes', tokens, lasting },
  };
}

/**
 * Returns QEMU's limits for a token bucket. QEMU has a leaky bucket (util/throttle.c), the inverse: it accepts `max` tokens at once and
 * drains at the average rate. `max` must be at least the average; without `max` QEMU accepts the tokens of 100 ms.
 */
function limitsOf(kind: Kind, rate: number, size: number): StepProps {
  const name = `${COUNTED[kind]}-total`;
  const average = Math.max(1, Math.round(rate));
  return { [name]: average, [`${name}-max`]: size >= average ? size : 0 };
}
