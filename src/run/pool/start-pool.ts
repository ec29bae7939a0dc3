import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { isLocked } from '../../native/file-lock.ts';
import { codeOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import { takeSignals } from '../owner/run-signals.ts';
import { messagesOf, type PoolMessage } from './messages.ts';
import type { PoolPlan } from './pool-members.ts';
import { poolPaths, type PoolRecord } from './pool-record.ts';

/** Descriptor of the process of a pool to its parent. */
const PARENT = 3;

/** Longest wait for the process of a pool to end, in milliseconds: its VMs end first. */
const END_MS = 20_000;

const POLL_MS = 20;

/**
 * Starts the process of a pool, and waits until all its VMs are ready. `command` is the command line of this program with the verb for
 * `ownPool`. A signal aborts the start; nothing is left then.
 * @throws RunError with the reason
 */
export async function startPool(
  plan: PoolPlan,
  [program, ...words]: readonly [string, ...string[]],
): Promise<void> {
  using signals = takeSignals();
  const child = spawn(program, words, { detached: true, stdio: ['pipe', 'ignore', 'ignore', 'pipe'] });
  await once(child, 'spawn');
  const stop = (): void => void child.kill('SIGTERM');
  signals.start.addEventListener('abort', stop);
  child.stdin?.on('error', () => undefined).end(JSON.stringify(plan));
  const channel = child.stdio[PARENT];
  if (!(channel instanceof Socket)) throw new RunError('start', 'the process of the pool has no channel');
  try {
    for await (const message of messagesOf<PoolMessage>(channel)) {
      if (message.kind === 'ready') return;
      throw new RunError('start', message.message);
    }
    throw new RunError('start', 'the process of the pool exited before its VMs were ready');
  } finally {
    signals.start.removeEventListener('abort', stop);
    channel.destroy();
    child.unref();
  }
}

/** Ends a pool: its stand-by VMs end, the taken ones run on. @throws RunError where its process does not end */
export async function stopPool({ key, pid }: PoolRecord): Promise<void> {
  const { lock } = poolPaths(key);
  const end = performance.now() + END_MS;
  // a process id counts while the pool holds the lock
  if (await isLocked(lock)) endProcess(pid);
  while (await isLocked(lock)) {
    if (performance.now() >= end) throw new RunError('running', `the pool does not end: process ${pid} runs`);
    await delay(POLL_MS);
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}
