import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestHome } from './nephos.ts';
import { KILL_SEED, momentsIn, randomFrom } from './random.ts';
import { assertNothingLeft, processesOf, pruneUnfinished, vmNames } from './run-leftovers.ts';
import { until } from './wait.ts';

/*
 * Signals to `nephos run` at random moments, from its start to its command. After SIGINT, SIGTERM and SIGHUP nothing is left. After
 * SIGKILL no process is left; the VM is `crashed`, and can be removed.
 */

const SIGNALS = ['SIGINT', 'SIGKILL', 'SIGTERM', 'SIGKILL', 'SIGHUP', 'SIGKILL'] as const;
type Sent = (typeof SIGNALS)[number];

/** A series of runs. */
export interface SignalRuns {
  /** Options and image of `nephos run` */
  readonly words: readonly string[];
  readonly count: number;
  /** Called before each run */
  readonly prepare?: () => Promise<unknown>;
}

/** Signals runs, each at another moment. The seed is in the errors: `NEPHOS_KILL_SEED` repeats them. */
export async function signalRuns(home: TestHome, { words, count, prepare }: SignalRuns): Promise<void> {
  const random = randomFrom(KILL_SEED);
  await prepare?.();
  const moments = momentsIn(await measureStart(home, words), count, random);
  for (const [i, moment] of moments.entries()) {
    const signal = SIGNALS[i % SIGNALS.length] ?? 'SIGKILL';
    await prepare?.();
    try {
      await signalRun(home, words, { signal, moment });
    } catch (error) {
      throw new Error(`${signal} after ${moment} ms, NEPHOS_KILL_SEED=${KILL_SEED}`, { cause: error });
    }
  }
}

const COMMAND = ['--', 'sh', '-c', 'echo started; exec sleep 1000'];

/** Returns the time until the command of a run writes, in milliseconds. */
async function measureStart(home: TestHome, words: readonly string[]): Promise<number> {
  const begun = performance.now();
  const child = home.start('run', '--rm', ...words, ...COMMAND);
  await once(child.stdout, 'data');
  const took = performance.now() - begun;
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [128 + constants.signals.SIGTERM, null]);
  return took;
}

async function signalRun(
  home: TestHome,
  words: readonly string[],
  { signal, moment }: { readonly signal: Sent; readonly moment: number },
): Promise<void> {
  const child = home.start('run', '--rm', ...words, ...COMMAND);
  const exited = once(child, 'exit');
  await delay(moment);
  child.kill(signal);
  const [code, by] = await exited;
  // before Nephos takes signals, they end the program
  if (by === null) assert.equal(code, 128 + constants.signals[signal]);
  else assert.equal(by, signal);
  if (signal === 'SIGKILL') await removeKilled(home);
  else await assertNothingLeft(home);
}

async function removeKilled(home: TestHome): Promise<void> {
  await until('no process is left', () => processesOf(home).length === 0);
  const names = vmNames(home);
  assert.ok(names.length <= 1, names.join());
  for (const name of names) {
    assert.match((await home.nephos('ps', '-a')).stdout, new RegExp(`^${name} .*crashed`, 'm'));
    assert.deepEqual(await home.nephos('rm', name), { code: 0, stdout: `${name}\n`, stderr: '' });
  }
  await pruneUnfinished(home);
  await assertNothingLeft(home);
}
