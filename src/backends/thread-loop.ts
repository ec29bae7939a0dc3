import { parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { EPOLLET, EPOLLIN, openEventfd } from '../native/epoll.ts';
import { libc } from '../native/libc.ts';
import { codeOf } from '../util/errno.ts';
import type { Log } from '../util/log.ts';
import type { DeviceOptions, StopCommand, ThreadMessage } from './device-thread.ts';
import { EventLoop } from './event-loop.ts';
import type { Device } from './vhost-user/device.ts';
import { Sessions } from './vhost-user/sessions.ts';

/** A device that runs in a thread of its own. */
export interface ThreadDevice extends Device, Disposable {
  /** Handles all that has happened. @returns after how many `ms` it must be called again where no event occurs: 0 at once, -1 never */
  readonly settle: () => number;
}

/** Parts of the thread that a device and its commands use. */
export interface ThreadContext {
  readonly loop: EventLoop;
  /** the main thread writes the lines: this thread never gets to its streams */
  readonly log: Log;
}

/** Device of a thread, and how it obeys commands. */
export interface ThreadService<D extends ThreadDevice, C extends { kind: string }> {
  readonly create: (context: ThreadContext) => D;
  readonly obey: (command: C, parts: { device: D; sessions: Sessions }) => void;
}

/** Sends a message to the main thread. */
export function postToMain(message: { readonly kind: string }): void {
  // a port of Node has no origin, unlike a window
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  parentPort?.postMessage(message);
}

/** Reports that the thread ends because of an error. */
export function postFailure(error: unknown): void {
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  const failure: ThreadMessage = { kind: 'failed', message, ...(code !== undefined && { code }) };
  postToMain(failure);
}

/** Service of a thread that runs an event loop. */
export interface LoopService<C extends { kind: string }> {
  /** first message to the main thread, which gets the eventfd that wakes this thread with it */
  readonly ready: { readonly kind: 'ready' };
  readonly obey: (command: C) => void;
  /** Handles all that has happened. @returns as {@link ThreadDevice.settle} */
  readonly settle: () => number;
}

/**
 * Runs an event loop in this thread, which blocks in epoll_wait between events, until it receives `stop`. `open` opens what the thread
 * serves, passes it to `serve`, which returns when the loop has stopped, and closes it again. `loadLibc` must have settled.
 */
export function runLoop<C extends { kind: string }>(
  open: (context: ThreadContext, serve: (service: LoopService<C>) => void) => void,
): void {
  const wake = openEventfd();
  let isReady = false;
  try {
    using loop = new EventLoop();
    open({ loop, log: logToMain() }, ({ ready, obey, settle }) => {
      loop.watch(wake, EPOLLIN | EPOLLET, () => {
        for (let received = nextMessage(); received !== undefined; received = nextMessage()) {
          const { message }: { message: C | StopCommand } = received;
          if (isStop(message)) loop.stop();
          else obey(message);
        }
      });
      postToMain({ ...ready, ...{ wake } });
      isReady = true;
      loop.run(settle);
    });
  } finally {
    // the main thread closes it once it has received it
    if (!isReady) libc().close(wake);
  }
}

/** Returns the next message to this thread, whose port of Node never gets to deliver one. */
function nextMessage(): ReturnType<typeof receiveMessageOnPort> {
  return parentPort === null ? undefined : receiveMessageOnPort(parentPort);
}

/** Runs a device in this thread until it receives `stop`, first for the front-end of `connection`. `loadLibc` must have settled. */
export function runDevice<D extends ThreadDevice, C extends { kind: string }>(
  { connection }: DeviceOptions,
  { create, obey }: ThreadService<D, C>,
): void {
  runLoop<C>((context, serve) => {
    using device = create(context);
    using sessions = new Sessions({ loop: context.loop, device, log: context.log });
    sessions.open(connection);
    serve({
      ready: { kind: 'ready' },
      obey: (command) => obey(command, { device, sessions }),
      settle: () => device.settle(),
    });
  });
}

function isStop(message: { kind: string }): message is StopCommand {
  return message.kind === 'stop';
}

function logToMain(): Log {
  const at = (level: keyof Log) => (message: string) => {
    const line: ThreadMessage = { kind: 'log', level, message };
    postToMain(line);
  };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') };
}
