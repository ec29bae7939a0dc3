import { Worker } from 'node:worker_threads';
import { besideBundle, isBundled } from './beside-bundle.ts';
import { reasonOf } from './errno.ts';
import { requireDescriptors } from './free-descriptors.ts';
import { isSingleExecutable } from './own-program.ts';
import { createLog } from './log.ts';
import { LATER, THREAD_DESCRIPTORS, THREAD_LIMITS } from './thread-options.ts';

const log = createLog('host');

/** The thread that waits for its bundle. */
let spare: Worker | undefined;

/**
 * Starts a thread that waits for the bundle that it is to run; nothing if there is one. `loader` is bin/load-thread.js. The thread does not
 * keep the process running.
 */
export function startSpareThread(loader: string | URL): void {
  if (spare !== undefined) return;
  try {
    requireDescriptors(THREAD_DESCRIPTORS);
    const worker = new Worker(loader, { workerData: LATER, execArgv: [], resourceLimits: THREAD_LIMITS });
    worker.unref();
    worker.once('error', (error) => log.debug(`the spare thread has failed: ${error.message}`));
    worker.once('online', () => {
      if (spare === worker) log.debug('the spare thread waits');
    });
    worker.once('exit', () => {
      if (spare === worker) spare = undefined;
    });
    spare = worker;
  } catch (error) {
    log.debug(`the spare thread could not be started: ${reasonOf(error)}`);
  }
}

/** Takes the spare thread, which loads the bundle at a path; its options are its next message. @returns undefined if there is none */
export function takeSpareThread(bundle: string): Worker | undefined {
  const worker = spare;
  if (worker === undefined) return undefined;
  spare = undefined;
  log.debug(`the spare thread runs ${bundle}`);
  worker.ref();
  // a thread of Node has no origin, unlike a window
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  worker.postMessage(bundle);
  return worker;
}

/** Ends the spare thread, if there is one. Settles when it has exited. */
export async function endSpareThread(): Promise<void> {
  const worker = spare;
  spare = undefined;
  if (worker === undefined) return;
  await worker.terminate();
  log.debug('the spare thread has ended');
}

/** Keeps a spare thread while there is no VM. */
export interface SpareThread extends Disposable {
  /** A VM has started, or was deleted. */
  readonly onVm: (exists: boolean) => void;
}

/** Time until the thread starts or ends: a start of a VM, or the exit of the VMM, is not delayed. In milliseconds. */
const DELAY_MS = 50;

/** Keeps a spare thread for the devices of the next VM: Node takes 16 ms to start one. A single executable has none. */
export function keepSpareThread(): SpareThread {
  // Node maps the lines of files that it loads itself
  if (!isBundled() || isSingleExecutable() || process.sourceMapsEnabled)
    return { onVm: () => undefined, [Symbol.dispose]: () => undefined };
  let timer: NodeJS.Timeout | undefined;
  const onVm = (exists: boolean): void => {
    clearTimeout(timer);
    const act = exists ? endInBackground : () => startSpareThread(besideBundle('../bin/load-thread.js'));
    timer = setTimeout(act, DELAY_MS).unref();
  };
  return {
    onVm,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      endInBackground();
    },
  };
}

function endInBackground(): void {
  endSpareThread().catch((error: unknown) => log.debug(`the spare thread: ${reasonOf(error)}`));
}
