import { closeSync, writeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../util/log.ts';
import { countHangingThread } from '../util/path-deadline.ts';

/*
 * The thread of a device, as the main thread has it: `thread-loop.ts` runs in the thread. Messages to the thread are read when its
 * eventfd is written to, since it blocks in the kernel.
 */

/** A message that the threads of all devices send. */
export type ThreadMessage =
  /** the thread runs; `frontEnd` is QEMU's end of the vhost-user connection, and the eventfd `wake` wakes the thread */
  | { readonly kind: 'ready'; readonly frontEnd: number; readonly wake: number }
  | { readonly kind: 'log'; readonly level: keyof Log; readonly message: string }
  /** `frontEnd` is QEMU's end of the further connection */
  | { readonly kind: 'reconnected'; readonly frontEnd: number }
  /** the thread ends; `code` is that of a system error, e.g. `ENOENT` */
  | { readonly kind: 'failed'; readonly message: string; readonly code?: string };

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

/** A running thread of a device, which receives commands `C` and sends messages `M`. */
export interface DeviceThread<C extends object, M extends { kind: string }> {
  /** QEMU's end of the current vhost-user connection, which is closed with the thread */
  readonly frontEnd: number;
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

/** Time limit for a thread to end, in milliseconds: one call of the host at most. */
const STOP_MS = 5000;

/** Ends the threads that run. Node waits for its threads at exit, and these are blocked in the kernel until they are woken. */
const endsAtExit = new Set<() => void>();
process.once('exit', () => {
  for (const end of endsAtExit) end();
});

/** Waits until a thread runs. Rejects with {@link ThreadError} where it fails; it has ended then, or ends by itself. */
export async function waitForDevice<C extends object, M extends { kind: string }>(
  worker: Worker,
  log: Log,
  stopMs = STOP_MS,
): Promise<DeviceThread<C, M>> {
  let hasEnded = false;
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      hasEnded = true;
      resolve();
    });
  });
  const { frontEnd, wake } = await reply<ThreadMessage, 'ready'>(worker, 'ready');
  worker.on('message', (message: ThreadMessage) => report(message, log));
  worker.on('error', (error) => log.error(`the device has stopped: ${error.message}`));
  const send = (message: C | StopCommand): void => {
    // a thread of Node has no origin, unlike a window
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    worker.postMessage(message);
    writeSync(wake, WAKE);
  };
  const endAtExit = (): void => send({ kind: 'stop' });
  endsAtExit.add(endAtExit);
  let current = frontEnd;
  return {
    frontEnd,
    ask: async (command, kind) => {
      // a thread that has exited sends no message
      if (hasEnded) throw new ThreadError('the device has stopped');
      const answer = reply<M, typeof kind>(worker, kind);
      send(command);
      return answer;
    },
    replaceFrontEnd: (next) => {
      closeSync(current);
      current = next;
    },
    stop: async () => {
      endsAtExit.delete(endAtExit);
      closeSync(current);
      send({ kind: 'stop' });
      const release = ended.then(() => closeSync(wake));
      await Promise.race([release, delay(stopMs, undefined, { ref: false })]);
      if (!hasEnded) leave(release, log);
    },
  };
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

function report(message: ThreadMessage, log: Log): void {
  if (message.kind === 'log') log[message.level](message.message);
  if (message.kind === 'failed') log.error(`the device has stopped: ${message.message}`);
}
