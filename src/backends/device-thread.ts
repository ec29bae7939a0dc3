import { closeSync, writeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../util/log.ts';
import { countHangingThread } from '../util/path-deadline.ts';
import { openConnection } from './vhost-user/connection.ts';

/*
 * The thread of a device, as the main thread has it: `thread-loop.ts` runs in the thread. Messages to the thread are read when its
 * eventfd is written to, since it blocks in the kernel.
 */

/** A message that the threads of all devices send. */
export type ThreadMessage =
  /** the thread runs; the eventfd `wake` wakes it */
  | { readonly kind: 'ready'; readonly wake: number }
  | { readonly kind: 'log'; readonly level: keyof Log; readonly message: string }
  /** `frontEnd` is QEMU's end of the further connection */
  | { readonly kind: 'reconnected'; readonly frontEnd: number }
  /** the thread ends; `code` is that of a system error, e.g. `ENOENT` */
  | { readonly kind: 'failed'; readonly message: string; readonly code?: string };

/** Options of the threads of all devices. */
export interface DeviceOptions {
  /** the back-end's end of the connection for QEMU; the thread opens a copy of it */
  readonly connection: number;
}

/** A message that the threads of all devices receive. */
export interface StopCommand {
  readonly kind: 'stop';
}

/** Increments the eventfd, so that the thread reads its messages. */
const WAKE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);

/** Thrown where the thread of a device has failed. */
export class ThreadError extends Error {
  /** code of the system error that is the reason, if there is one */
  readonly code: string | undefined;

  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

/** Message of one kind. */
export type OfKind<M, K extends string> = Extract<M, { kind: K }>;

/** A thread of a device, which receives commands `C` and sends messages `M`. */
export interface DeviceThread<C extends object, M extends { kind: string }> {
  /** QEMU's end of the first connection. QEMU may use it before the thread runs: its messages wait. Open until `stop` or a replacement */
  readonly frontEnd: number;
  /**
   * Starts the thread at the first call, and settles when it runs. Rejects where it fails, before the connection is closed: QEMU's error
   * has that reason. `stop` must be called then, too.
   */
  readonly start: () => Promise<void>;
  /** Sends a command, and returns the answer. Rejects at once where the thread has ended. */
  readonly ask: <K extends M['kind']>(command: C, kind: K) => Promise<OfKind<M, K>>;
  /** Makes another connection the current one, and closes the former. */
  readonly replaceFrontEnd: (frontEnd: number) => void;
  /**
   * Ends the thread. One that hangs in a call of the host, e.g. on a network mount without its server, is left after a deadline; it
   * ends when the call returns.
   */
  readonly stop: () => Promise<void>;
}

/** Start of a thread. */
export interface StartOptions {
  readonly log: Log;
  /** Returns the error of `start`; by default it is that of the thread, e.g. {@link ThreadError}. */
  readonly explain?: (error: unknown) => unknown;
  /** time limit of `stop` in milliseconds */
  readonly stopMs?: number;
}

/** Time limit for a thread to end, in milliseconds: one call of the host at most. */
const STOP_MS = 5000;

/** Ends the threads that run. Node waits for its threads at exit, and these are blocked in the kernel until they are woken. */
const endsAtExit = new Set<() => void>();
process.once('exit', () => {
  for (const end of endsAtExit) end();
});

/**
 * Opens the connection of a thread, and starts the thread at `start()`: a thread that starts before QEMU's process delays it. `create` starts
 * the thread, and receives the back-end's end of the connection ({@link DeviceOptions}). `loadLibc` must have settled.
 * @throws the system's error; nothing is left then
 */
export function prepareDevice<C extends object, M extends { kind: string }>(
  create: (connection: number) => Worker,
  options: StartOptions,
): DeviceThread<C, M> {
  const { backEnd, frontEnd } = openConnection();
  const { explain = (error: unknown) => error } = options;
  let running: RunningThread<C, M> | undefined;
  let current = frontEnd;
  const start = (): RunningThread<C, M> => (running ??= runThread(create, backEnd, options));
  return {
    frontEnd,
    start: async () => {
      await start().ready.catch((error: unknown) => {
        throw explain(error);
      });
    },
    ask: (command, kind) => start().ask(command, kind),
    replaceFrontEnd: (next) => {
      closeSync(current);
      current = next;
    },
    stop: async () => {
      closeSync(current);
      if (running !== undefined) return running.stop();
      closeSync(backEnd);
      running = failedThread(new ThreadError('the device has stopped'));
    },
  };
}

/** A thread that was started. */
interface RunningThread<C extends object, M extends { kind: string }> extends Pick<
  DeviceThread<C, M>,
  'ask' | 'stop'
> {
  readonly ready: Promise<unknown>;
}

/** Starts a thread. The failure of a start rejects `ready`. */
function runThread<C extends object, M extends { kind: string }>(
  create: (connection: number) => Worker,
  backEnd: number,
  options: StartOptions,
): RunningThread<C, M> {
  try {
    return followThread(create(backEnd), backEnd, options);
  } catch (error) {
    closeSync(backEnd);
    return failedThread(error);
  }
}

function failedThread<C extends object, M extends { kind: string }>(reason: unknown): RunningThread<C, M> {
  const fail = async (): Promise<never> => {
    throw reason;
  };
  const ready = fail();
  ready.catch(() => undefined);
  return { ready, ask: fail, stop: async () => undefined };
}

function followThread<C extends object, M extends { kind: string }>(
  worker: Worker,
  backEnd: number,
  { log, stopMs = STOP_MS }: StartOptions,
): RunningThread<C, M> {
  const { ended, hasEnded } = watchExit(worker);
  const send = (wake: number, message: C | StopCommand): void => {
    // a thread of Node has no origin, unlike a window
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    worker.postMessage(message);
    writeSync(wake, WAKE);
  };
  const running = untilRunning(worker, log)
    .then(({ wake }) => {
      const endAtExit = (): void => send(wake, { kind: 'stop' });
      endsAtExit.add(endAtExit);
      return { wake, endAtExit };
    })
    .finally(() => closeSync(backEnd));
  // a caller that ends the start for another reason does not wait
  running.catch(() => undefined);
  const end = async (): Promise<void> => {
    const { wake, endAtExit } = await running;
    endsAtExit.delete(endAtExit);
    send(wake, { kind: 'stop' });
    await ended;
    closeSync(wake);
  };
  return {
    ready: running,
    ask: async (command, kind) => {
      const { wake } = await running;
      // a thread that has exited sends no message
      if (hasEnded()) throw new ThreadError('the device has stopped');
      const answer = reply<M, typeof kind>(worker, kind);
      send(wake, command);
      return answer;
    },
    stop: async () => {
      // a thread that has failed ends by itself
      const release = end().catch(() => ended);
      await Promise.race([release, delay(stopMs, undefined, { ref: false })]);
      if (!hasEnded()) leave(release, log);
    },
  };
}

/** The exit of a thread. */
interface ThreadExit {
  readonly ended: Promise<void>;
  readonly hasEnded: () => boolean;
}

function watchExit(worker: Worker): ThreadExit {
  let hasEnded = false;
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      hasEnded = true;
      resolve();
    });
  });
  return { ended, hasEnded: () => hasEnded };
}

/** Waits until a thread runs. Its messages and errors are logged; its failure before it runs is the caller's. */
async function untilRunning(worker: Worker, log: Log): Promise<OfKind<ThreadMessage, 'ready'>> {
  let isRunning = false;
  worker.on('message', (message: ThreadMessage) => {
    if (message.kind === 'ready') isRunning = true;
    report(message, isRunning, log);
  });
  worker.on('error', (error) => {
    if (isRunning) log.error(`the device has stopped: ${error.message}`);
  });
  return reply<ThreadMessage, 'ready'>(worker, 'ready');
}

/** Leaves a thread that does not end. */
function leave(ended: Promise<void>, log: Log): void {
  log.warn('its thread hangs in a call of the host and ends when that returns');
  const release = countHangingThread();
  ended.then(release, release);
}

/** Waits for the thread's message of one kind. */
function reply<M extends { kind: string }, K extends M['kind']>(
  worker: Worker,
  kind: K,
): Promise<OfKind<M, K>> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      worker.off('message', take).off('error', failed).off('exit', exited);
      act();
    };
    const take = (message: { kind: string }): void => {
      if (isKind<M, K>(message, kind)) settle(() => resolve(message));
      else if (isKind<ThreadMessage, 'failed'>(message, 'failed'))
        settle(() => reject(new ThreadError(message.message, message.code)));
    };
    const failed = (error: Error): void => settle(() => reject(error));
    const exited = (): void => failed(new ThreadError('the device has stopped'));
    worker.on('message', take).on('error', failed).on('exit', exited);
  });
}

function isKind<M extends { kind: string }, K extends M['kind']>(
  message: { kind: string },
  kind: K,
): message is OfKind<M, K> {
  return message.kind === kind;
}

function report(message: ThreadMessage, isRunning: boolean, log: Log): void {
  if (message.kind === 'log') log[message.level](message.message);
  if (message.kind === 'failed' && isRunning) log.error(`the device has stopped: ${message.message}`);
}
