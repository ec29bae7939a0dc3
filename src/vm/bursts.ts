import { setTimeout as sleep } from 'node:timers/promises';
import type { OneTimeBurst } from '../devices/step.ts';
import type { Placement } from '../machine/placement.ts';
import { planDevice } from '../machine/plan.ts';
import { reasonOf } from '../util/errno.ts';
import { createLog } from '../util/log.ts';
import { readCounters } from './counters.ts';
import type { Run } from './run.ts';

const log = createLog('disk');

/** How often is looked whether a burst is used up, in milliseconds: what a guest may wait at its end. */
const LOOK_MS = 20;

/** A throttle group in its one-time burst. */
interface Burst extends OneTimeBurst {
  readonly group: string;
}

/** Ends the one-time bursts of a device when its guest has used them up; returns at once. */
export function watchBursts(run: Run, placement: Placement): void {
  const steps = planDevice(placement, run.preparations.facts().get(placement.id));
  const bursts = steps.flatMap((step) =>
    step.kind === 'object' && step.burst !== undefined ? [{ ...step.burst, group: step.props.id }] : [],
  );
  follow(run, placement, bursts).catch((error: unknown) => {
    // the machine has ended, or the device was just taken away
    log.debug(`${placement.id}: bursts are no longer watched: ${reasonOf(error)}`);
  });
}

async function follow(run: Run, placement: Placement, bursts: readonly Burst[]): Promise<void> {
  const { qmp } = run.qemu;
  let open = bursts;
  while (open.length > 0) {
    await sleep(LOOK_MS, undefined, { ref: false });
    if (!run.layout.placements.includes(placement)) return;
    const counters = (await readCounters(qmp, [placement]))[placement.id] ?? {};
    const over = open.filter(({ counts, tokens }) => usedOf(counters, counts) >= tokens);
    for (const { group, lasting } of over) {
      await qmp.execute('qom-set', { path: `/objects/${group}`, property: 'limits', value: lasting });
    }
    open = open.filter((burst) => !over.includes(burst));
  }
}

function usedOf(counters: Readonly<Record<string, number>>, counts: OneTimeBurst['counts']): number {
  return (counters[`read_${counts}`] ?? 0) + (counters[`write_${counts}`] ?? 0);
}
