import { setTimeout as sleep } from 'node:timers/promises';
import { planGroup, sharedLimits } from '../../../devices/rate-limit-group/plan.ts';
import type { OneTimeBurst, Step } from '../../../devices/common/step.ts';
import type { Placement } from '../../../plan/placement.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import { readCounters } from '../../observe/counters.ts';
import type { Machine } from '../../machine.ts';

const log = createLog('disk');

/** Interval of the checks of a burst, in milliseconds. A guest may wait this long when its burst is used up. */
const CHECK_MS = 20;

/** A throttle group in its one-time burst. */
interface Burst extends OneTimeBurst {
  readonly group: string;
}

/** Returns the disks that share a burst; undefined if the disk was detached. */
type Users = () => readonly Placement[] | undefined;

/** Watches the bursts of all disks of a machine. */
export function watchAllBursts(machine: Machine): void {
  watchSharedBursts(machine);
  for (const placement of machine.layout.placements) watchBursts(machine, placement);
}

/** Ends the one-time bursts of a device when its guest has used them up; returns at once. */
export function watchBursts(machine: Machine, placement: Placement): void {
  watch(machine, placement.id, {
    bursts: burstsOf(machine.deviceSteps.get(placement.id) ?? []),
    users: () => (machine.layout.placements.includes(placement) ? [placement] : undefined),
  });
}

/** Ends the one-time bursts that disks share when they have used them up together; returns at once. */
function watchSharedBursts(machine: Machine): void {
  for (const [id, shared] of sharedLimits(machine.config.rate_limit_groups)) {
    watch(machine, id, {
      bursts: burstsOf(planGroup(shared)),
      users: () => machine.layout.placements.filter(({ config }) => isOf(config, id)),
    });
  }
}

function isOf(config: Placement['config'], group: string): boolean {
  return config !== true && config['rate_limit_group'] === group;
}

function burstsOf(steps: readonly Step[]): Burst[] {
  return steps.flatMap((step) =>
    step.kind === 'object' && step.burst !== undefined ? [{ ...step.burst, group: step.props.id }] : [],
  );
}

interface Watched {
  readonly bursts: readonly Burst[];
  readonly users: Users;
}

function watch(machine: Machine, name: string, watched: Watched): void {
  follow(machine, watched).catch((error: unknown) => {
    // QEMU has exited, or the device was just detached
    log.debug(`${name}: bursts are no longer watched: ${reasonOf(error)}`);
  });
}

async function follow(machine: Machine, { bursts, users }: Watched): Promise<void> {
  const { qmp } = machine.qemu;
  let open = bursts.filter(({ group }) => !machine.endedBursts.has(group));
  while (open.length > 0) {
    await sleep(CHECK_MS, undefined, { ref: false });
    const placements = users();
    if (placements === undefined) return;
    const all = Object.values(await readCounters(machine, placements));
    const over = open.filter(({ counts, tokens }) => usedOf(all, counts) >= tokens);
    for (const { group, lasting } of over) {
      await qmp.execute('qom-set', { path: `/objects/${group}`, property: 'limits', value: lasting });
      machine.endedBursts.add(group);
    }
    open = open.filter((burst) => !over.includes(burst));
  }
}

function usedOf(all: readonly Readonly<Record<string, number>>[], counts: OneTimeBurst['counts']): number {
  const used = (counters: Readonly<Record<string, number>>): number =>
    (counters[`read_${counts}`] ?? 0) + (counters[`write_${counts}`] ?? 0);
  return all.reduce((sum, counters) => sum + used(counters), 0);
}
