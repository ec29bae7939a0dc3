import { rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { lockPath } from '../../native/file-lock.ts';
import { reasonOf } from '../../util/errno.ts';
import { onAbort } from '../../util/shutdown-signals.ts';
import { RunError } from '../errors.ts';
import { takeSignals } from '../owner/run-signals.ts';
import { makePrivateDirectory } from '../vm-directory/private-directory.ts';
import { sendMessage, type PoolMessage } from './messages.ts';
import { openPool, type PoolPlan, type StandByCommand } from './pool-members.ts';
import { poolPaths, poolsDirectory, type PoolPaths } from './pool-record.ts';

/** Descriptor to the process that started the pool. */
const PARENT = 3;

/** First delay after a failure, in milliseconds, which doubles; failures without a run between them that end the pool. */
const [FAILURE_MS, FAILURES_MAX] = [500, 5];

/** Runs a pool: the plan is on standard input, the process that starts the pool at descriptor 3. Returns when the pool has ended. */
export async function ownPool(command: StandByCommand): Promise<void> {
  using signals = takeSignals();
  const parent = new Socket({ fd: PARENT });
  parent.on('error', () => undefined).resume();
  const end = new AbortController();
  onAbort(signals.start, () => end.abort());
  // a parent that exits before the VMs are ready aborts the start
  parent.once('close', () => end.abort());
  const send = (message: PoolMessage): void => sendMessage(parent, message);
  try {
    // the sender is the same program
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const plan = (await json(process.stdin)) as PoolPlan;
    await keepPool(plan, command, {
      signal: end.signal,
      onReady: () => {
        parent.removeAllListeners('close');
        send({ kind: 'ready' });
        parent.end();
      },
    });
  } catch (error) {
    send({ kind: 'error', message: reasonOf(error) });
  } finally {
    parent.end();
  }
}

interface PoolHost {
  readonly signal: AbortSignal;
  /** Called when all VMs are ready for the first time */
  readonly onReady: () => void;
}

/** Keeps the VMs of a pool until a signal, the idle time, or too many failures. @throws RunError */
async function keepPool(plan: PoolPlan, command: StandByCommand, host: PoolHost): Promise<void> {
  makePrivateDirectory(poolsDirectory());
  const paths = poolPaths(plan.key);
  makePrivateDirectory(paths.directory);
  using lock = await lockPath(paths.lock, { timeoutMs: 0 });
  if (lock === undefined) throw new RunError('running', 'there is a pool for this image and shape already');
  try {
    await runPool(plan, { paths, command, ...host });
  } finally {
    rmSync(paths.directory, { recursive: true, force: true });
  }
}

interface PoolRun extends PoolHost {
  readonly paths: PoolPaths;
  readonly command: StandByCommand;
}

async function runPool(plan: PoolPlan, { paths, command, signal, onReady }: PoolRun): Promise<void> {
  await using pool = openPool(plan, paths, command);
  let isComplete = false;
  while (!signal.aborted && (!isComplete || pool.idleLeft() > 0)) {
    if (pool.isShort()) {
      await pool.addMember(signal);
      const { failures, reason } = pool.failure();
      if (failures === 0) continue;
      if (!isComplete || failures >= FAILURES_MAX) throw new RunError('start', reason);
      await delay(FAILURE_MS * 2 ** failures, undefined, { signal }).catch(() => undefined);
    } else {
      if (!isComplete) {
        isComplete = true;
        pool.restartIdle();
        onReady();
      }
      await pool.untilChange(signal);
    }
  }
}
