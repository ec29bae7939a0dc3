import type { NetdevStep, Step } from '../../../devices/common/step.ts';
import type { PlannedMachine } from '../../launch/planned-machine.ts';
import { withMapped, type RamSource } from '../restore-memory.ts';

/** The plan of a twin. */
export interface TwinPlan {
  readonly planned: PlannedMachine;
  /** networks with a TAP: made when the other QEMU is stopped, as the twin would take their packets before */
  readonly nets: readonly Step[];
}

/** Differences between a twin and a machine that continues from a snapshot. */
export interface TwinFacts {
  /** RAM, which is mapped privately */
  readonly mapped: readonly RamSource[];
  /** descriptors of the files with RAM, by path */
  readonly files: ReadonlyMap<string, number>;
  /** throttle groups whose one-time burst has ended, by id */
  readonly endedBursts: ReadonlySet<string>;
}

/**
 * Returns the plan of a twin from that of a machine that continues from a state. The twin maps the RAM of the other QEMU privately,
 * appends to the files of consoles, and lacks networks with a TAP, whose descriptors it inherits. Pure.
 */
export function planTwin(planned: PlannedMachine, { mapped, files, endedBursts }: TwinFacts): TwinPlan {
  const { plan, deviceSteps } = planned;
  const { steps, lateSteps } = withMapped(plan, { mapped, copied: [] });
  const nets = [...deviceSteps.values()].filter((one) => one.some(isTap)).flat();
  const isNet = new Set<Step>(nets);
  const own = steps.filter((step) => !isNet.has(step)).map((step) => withLastingLimits(step, endedBursts));
  const inherited = new Map([...plan.inherited, ...files, ...nets.filter(isTap).flatMap(tapFiles)]);
  return {
    planned: { ...planned, plan: { ...plan, steps: own, lateSteps, inherited, continues: true } },
    nets,
  };
}

function withLastingLimits(step: Step, ended: ReadonlySet<string>): Step {
  if (step.kind !== 'object' || step.burst === undefined || !ended.has(step.props.id)) return step;
  return { kind: 'object', props: { ...step.props, limits: step.burst.lasting } };
}

function isTap(step: Step): step is NetdevStep {
  return step.kind === 'netdev' && step.fds !== undefined;
}

function tapFiles({ props, fds = [] }: NetdevStep): [string, number][] {
  return fds.map((fd, i) => [tapPath(props.id, i), fd]);
}

/** Stands for the path of a TAP's queue in the plan. */
function tapPath(id: string, index: number): string {
  return `tap ${id} ${index}`;
}

/** Returns the steps of a network with the numbers of its descriptors in the twin, which has inherited them. */
export function withInheritedTaps(nets: readonly Step[], inheritedAt: (path: string) => number): Step[] {
  return nets.map((step) => {
    if (!isTap(step)) return step;
    const { props, fds = [] } = step;
    const numbers = fds.map((_, i) => inheritedAt(tapPath(props.id, i)));
    return { kind: 'netdev', props: { ...props, fds: numbers.join(':') } };
  });
}
