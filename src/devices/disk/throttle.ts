import type { DiskConfig } from './index.ts';
import { rateOf, type RateLimiterConfig, type TokenBucket } from '../common/rate-limit.ts';
import type { ObjectStep, Step, StepProps } from '../common/step.ts';

/** Filters that limit a disk. */
interface Throttle {
  readonly steps: readonly Step[];
  /** name of the node on top */
  readonly top: string;
}

type Limited = Pick<DiskConfig, 'readonly' | 'rate_limiter_config'>;

/** The engine's names for what a bucket counts. */
const COUNTED = { bandwidth: 'bps', ops: 'iops' } as const;
type Kind = keyof typeof COUNTED;

/** What can be limited, in the order of the filters. */
export const LIMITED = ['ops', 'bandwidth'] as const satisfies readonly Kind[];

/**
 * Filters on top of `node` that hold a disk to its limits, or to those that it `shares`, whose groups are there. Each
 * bucket has a group of its own, because a change of a group's limits, which ends a one-time burst, fills it again.
 */
export function planThrottle(
  node: string,
  config: Limited,
  shared?: { readonly name: string; readonly limits: RateLimiterConfig },
): Throttle {
  return LIMITED.reduce<Throttle>(
    (below, kind) => {
      const top = `${node}.${kind}`;
      const bucket = (shared?.limits ?? config.rate_limiter_config)?.[kind];
      const group = limitStep(shared?.name ?? node, kind, bucket);
      if (group === undefined) return below;
      const filter = {
        driver: 'throttle',
        'read-only': config.readonly,
        'node-name': top,
        'throttle-group': group.props.id,
        file: below.top,
      };
      const own = shared === undefined ? [group] : [];
      return { steps: [...below.steps, ...own, { kind: 'blockdev', props: filter }], top };
    },
    { steps: [], top: node },
  );
}

/** The engine's group for one bucket; undefined where it limits nothing. */
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
 * The engine's leaky bucket takes `max` tokens at once and drains with the rate: that is our bucket, upside down.
 * It wants `max` to be no less than the rate of a second; without `max` it takes what the rate gives in 100 ms.
 */
function limitsOf(kind: Kind, rate: number, size: number): StepProps {
  const name = `${COUNTED[kind]}-total`;
  const average = Math.max(1, Math.round(rate));
  return { [name]: average, [`${name}-max`]: size >= average ? size : 0 };
}
