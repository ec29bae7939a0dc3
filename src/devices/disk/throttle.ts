import type { DiskConfig } from './config.ts';
import type { Step } from '../common/step.ts';
import { LIMITED, limitStep, type SharedLimits } from '../common/throttle-group.ts';

/** Filter nodes that limit a disk. */
interface Throttle {
  readonly steps: readonly Step[];
  /** name of the node on top */
  readonly top: string;
}

type Limited = Pick<DiskConfig, 'readonly' | 'rate_limiter_config'>;

/**
 * Plans the filters on top of `node` that limit a disk: by its own limits, or by shared ones, whose groups exist already. Each
 * bucket has a group of its own, because a change of a group's limits, which ends a one-time burst, refills the group.
 */
export function planThrottle(node: string, config: Limited, shared?: SharedLimits): Throttle {
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
