import { closeSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { signalEventfd } from '../../native/epoll.ts';
import { libc } from '../../native/libc.ts';
import { listenAtPath } from '../../native/listening-socket.ts';
import { startThread } from '../../util/start-thread.ts';
import { ENOTCONN } from './errors.ts';
import type { Operation, OperationName, Outcome, ResultOf } from './operations.ts';
import { ProgramFileSystem, type OnFault } from './program-file-system.ts';
import type { FsProvider } from './provider.ts';
import type { FromThread, ShareThreadOptions, ToThread } from './thread-messages.ts';

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_CONCURRENCY = 64;

/** Time that a closed share waits for pending calls of the provider, in `milliseconds`. */
const IDLE_MS = 1000;

/** Faults that are reported as warnings if the program does not take them. */
const MAX_WARNINGS = 10;

/** Options of {@link serveProvider}. */
export interface ServeOptions {
  /**
   * Time limit of a call of the provider in `milliseconds`. After it the guest gets EIO, and the call's signal is aborted. Default:
   * 30,000
   */
  readonly timeoutMs?: number;
  /** Most calls of the provider at a time. Default: 64 */
  readonly concurrency?: number;
  /** Receives errors of the provider without a `code`, for which the guest gets EIO. Default: the first ten are warnings of the process */
  readonly onFault?: OnFault;
}

/** A provider that is served on a UNIX socket. */
export interface ProviderService {
  /** path of the vhost-user socket, in a directory of its own with mode 0700 */
  readonly socket: string;
  /** a front-end is connected */
  readonly isConnected: boolean;
  /**
   * Ends the use of the provider and removes the socket. A guest that still has the device gets ENOTCONN for each request. Resolves
   * when no call of the provider is pending; one that does not settle is not waited for longer than a moment.
   */
  readonly close: () => Promise<void>;
  /** Settles when the thread has stopped: the share is closed, and no front-end is connected any more. Never rejects. */
  readonly ended: Promise<void>;
}

/** Serves a provider: listens when this returns. Rejects with the reason alone; then nothing is left. */
export async function serveProvider(
  provider: FsProvider,
  {
    timeoutMs = DEFAULT_TIMEOUT_MS,
    concurrency = DEFAULT_CONCURRENCY,
    onFault = warnings(),
  }: ServeOptions = {},
): Promise<ProviderService> {
  requireBetween('timeoutMs', timeoutMs, 2 ** 31 - 1);
  requireBetween('concurrency', concurrency, 1024);
  const folder = await mkdtemp(join(tmpdir(), 'nephos-fs-'));
  try {
    const socket = join(folder, 'socket');
    const { fd, removeFile } = await listenAtPath(socket, { mode: 0o600, backlog: 1 });
    const removeSocket = (): void => {
      removeFile();
      rmSync(folder, { recursive: true, force: true });
    };
    const files = new ProgramFileSystem(provider, onFault);
    return await startShare(
      { listener: fd, timeoutMs, concurrency },
      { socket, removeSocket, files, onFault },
    );
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

interface Serving {
  readonly socket: string;
  readonly removeSocket: () => void;
  readonly files: ProgramFileSystem;
  readonly onFault: OnFault;
}

async function startShare(options: ShareThreadOptions, serving: Serving): Promise<ProviderService> {
  const worker = startWorker(options);
  try {
    const wake = await untilReady(worker);
    return new Share(worker, wake, serving);
  } catch (error) {
    await worker.terminate();
    throw error;
  }
}

/** Starts the thread, which closes the listening socket; it is closed here where the thread cannot be started. */
function startWorker(options: ShareThreadOptions): Worker {
  try {
    return startThread('fs-provider-worker', () => new URL('worker.js', import.meta.url), options);
  } catch (error) {
    closeSync(options.listener);
    throw error;
  }
}

/** Waits for the thread. @returns the eventfd that wakes it */
function untilReady(worker: Worker): Promise<number> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the thread of the share has stopped')));
    worker.once('message', (message: FromThread) => {
      worker.removeAllListeners('error').removeAllListeners('exit');
      if (message.kind === 'ready') resolve(message.wake);
      else
        reject(new Error(message.kind === 'failed' ? message.message : 'the thread of the share has failed'));
    });
  });
}

/** The program's side of a share. */
class Share implements ProviderService {
  readonly socket: string;
  readonly ended: Promise<void>;
  isConnected = false;
  readonly #worker: Worker;
  readonly #wake: number;
  readonly #serving: Serving;
  /** calls of the provider that have not settled */
  readonly #calls = new Map<number, AbortController>();
  #onIdle: () => void = () => undefined;
  #closed: Promise<void> | undefined;
  #hasEnded = false;

  constructor(worker: Worker, wake: number, serving: Serving) {
    this.socket = serving.socket;
    this.#worker = worker;
    this.#wake = wake;
    this.#serving = serving;
    worker.on('message', (message: FromThread) => this.#take(message));
    worker.on('error', (error) => serving.onFault(error, 'thread'));
    this.ended = new Promise((resolve) => {
      worker.once('exit', () => void this.#end().then(resolve));
    });
    stopAtExit.add(this);
  }

  readonly close = (): Promise<void> => {
    this.#closed ??= this.#close();
    return this.#closed;
  };

  /** Stops the thread without waiting: Node waits for its threads at exit, and this one is blocked in the kernel. */
  stop(): void {
    this.#serving.removeSocket();
    this.#send({ kind: 'stop' });
  }

  async #close(): Promise<void> {
    // while the thread has the socket open: see `ListeningSocket`
    this.#serving.removeSocket();
    this.#send({ kind: 'close' });
    // a guest that keeps the device does not keep this process running
    if (this.isConnected) this.#worker.unref();
    for (const controller of this.#calls.values()) controller.abort();
    await this.#untilIdle();
    this.#serving.files.notice({ name: 'reset' });
  }

  /** Waits until no call of the provider is pending, but not for long. */
  async #untilIdle(): Promise<void> {
    if (this.#calls.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, IDLE_MS);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #end(): Promise<void> {
    this.#hasEnded = true;
    stopAtExit.delete(this);
    await this.close();
    libc().close(this.#wake);
  }

  #take(message: FromThread): void {
    switch (message.kind) {
      case 'call':
        return this.#call(message.id, message.operation);
      case 'abort':
        return this.#calls.get(message.id)?.abort();
      case 'notice':
        // a closed share has released everything
        return this.#closed === undefined ? this.#serving.files.notice(message.notice) : undefined;
      case 'connected':
      case 'disconnected':
        this.isConnected = message.kind === 'connected';
        // a closed share stops now
        if (!this.isConnected) this.#worker.ref();
        return undefined;
      default:
        return this.#report(message);
    }
  }

  #report(message: FromThread): void {
    const { onFault } = this.#serving;
    if (message.kind === 'failed') onFault(new Error(`the share has stopped: ${message.message}`), 'thread');
    if (message.kind === 'log' && ['error', 'warn'].includes(message.level))
      onFault(new Error(message.message), 'virtio-fs');
  }

  #call(id: number, operation: Operation): void {
    if (this.#closed !== undefined) return this.#send({ kind: 'result', id, outcome: { error: ENOTCONN } });
    const controller = new AbortController();
    this.#calls.set(id, controller);
    const perform = async (): Promise<void> => {
      const outcome = await this.#serving.files.run(operation, controller.signal);
      this.#calls.delete(id);
      this.#answer(id, outcome);
      if (this.#calls.size === 0) this.#onIdle();
    };
    perform().catch((error: unknown) => this.#serving.onFault(error, operation.name));
  }

  #answer(id: number, outcome: Outcome<ResultOf<OperationName>>): void {
    const bytes = 'value' in outcome && outcome.value instanceof Uint8Array ? outcome.value : undefined;
    const transfer = bytes?.buffer instanceof ArrayBuffer ? [bytes.buffer] : [];
    this.#send({ kind: 'result', id, outcome }, transfer);
  }

  #send(message: ToThread, transfer: readonly ArrayBuffer[] = []): void {
    if (this.#hasEnded) return;
    this.#worker.postMessage(message, transfer);
    signalEventfd(this.#wake);
  }
}

/** Shares that are stopped when the process exits. */
class StopAtExit {
  readonly #shares = new Set<Share>();
  readonly #stop = (): void => {
    for (const share of this.#shares) share.stop();
  };

  add(share: Share): void {
    if (this.#shares.size === 0) process.once('exit', this.#stop);
    this.#shares.add(share);
  }

  delete(share: Share): void {
    this.#shares.delete(share);
    if (this.#shares.size === 0) process.off('exit', this.#stop);
  }
}

const stopAtExit = new StopAtExit();

/** Returns a function that reports the first faults as warnings of the process. */
function warnings(): OnFault {
  let left = MAX_WARNINGS;
  return (error, operation) => {
    if (left-- <= 0) return;
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.emitWarning(
      `the provider of a shared directory failed in ${operation}: ${detail}`,
      'NephosWarning',
    );
  };
}

function requireBetween(name: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new RangeError(`${name}: must be an integer from 1 to ${most}, got ${value}`);
}
