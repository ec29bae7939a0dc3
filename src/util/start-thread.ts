import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { besideBundle, isBundled } from './beside-bundle.ts';
import { reasonOf } from './errno.ts';
import { requireDescriptors } from './free-descriptors.ts';
import { createLog } from './log.ts';
import { takeSpareThread } from './spare-thread.ts';
import { LATER, THREAD_DESCRIPTORS, THREAD_LIMITS } from './thread-options.ts';

const log = createLog('host');

/** Threads, by the name of their bundle; scripts/bundle.ts lists their sources. */
export type ThreadName = 'vsock-worker' | 'fs-worker' | 'fs-provider-worker';

/**
 * Starts a thread of the VMM or of the SDK. Its code is an asset of the single executable, a file beside the bundle in `dist/`, which
 * bin/load-thread.js loads, or `module` where the sources run unbundled.
 * @throws the system's error where this process has no descriptors left
 */
export function startThread(name: ThreadName, module: () => URL, workerData: object): Worker {
  const early = takeReserved(name) ?? takeSpare(name);
  if (early === undefined) return createThread(name, module, workerData);
  // a thread of Node has no origin, unlike a window
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  early.postMessage(workerData);
  return early;
}

function createThread(name: ThreadName, module: () => URL, workerData: object): Worker {
  // Node 20 never closes an epoll descriptor where the start of a thread fails for lack of descriptors
  requireDescriptors(THREAD_DESCRIPTORS);
  // not imported: other runtimes than Node, in which the SDK runs too, have no such module
  const sea: typeof import('node:sea') | undefined = process.getBuiltinModule('node:sea');
  if (sea?.isSea())
    return new Worker(sea.getAsset(`${name}.cjs`, 'utf8'), {
      eval: true,
      workerData,
      resourceLimits: THREAD_LIMITS,
    });
  // a thread whose code is a file does not start with all options of a program, e.g. `node --input-type=module -e`
  const options = { workerData, execArgv: [], resourceLimits: THREAD_LIMITS };
  if (!isBundled()) return new Worker(module(), options);
  const bundle = besideBundle(`${name}.cjs`);
  // Node maps the lines of files that it loads itself
  if (process.sourceMapsEnabled) return new Worker(bundle, options);
  return new Worker(besideBundle('../bin/load-thread.js'), { ...options, argv: [pathOf(bundle)] });
}

function pathOf(bundle: string | URL): string {
  return typeof bundle === 'string' ? bundle : fileURLToPath(bundle);
}

function takeSpare(name: ThreadName): Worker | undefined {
  return isBundled() ? takeSpareThread(pathOf(besideBundle(`${name}.cjs`))) : undefined;
}

/** Threads that were started before their options are known. */
const reserved = new Map<ThreadName, Worker[]>();

/**
 * Starts threads before their options are known: Node takes 15 ms to start one. {@link startThread} gives the first of its name its options,
 * which the thread awaits by `threadOptions`. The disposal ends those that have no options yet.
 */
export function reserveThreads(names: readonly ThreadName[]): AsyncDisposable {
  const all = isBundled() ? names.flatMap(reserveThread) : [];
  return {
    [Symbol.asyncDispose]: async () => {
      const unused = all.filter(({ isUnused }) => isUnused());
      await Promise.all(unused.map(({ worker }) => worker.terminate()));
    },
  };
}

interface ReservedThread {
  readonly worker: Worker;
  /** Returns true if the thread has no options yet; it gets none from now on. */
  readonly isUnused: () => boolean;
}

function reserveThread(name: ThreadName): ReservedThread[] {
  try {
    const worker = takeSpare(name) ?? createThread(name, notBundled, LATER);
    const isUnused = (): boolean => removeReserved(name, worker);
    worker.on('error', (error) => log.debug(`${name}: ${error.message}`)).once('exit', isUnused);
    reserved.set(name, [...(reserved.get(name) ?? []), worker]);
    return [{ worker, isUnused }];
  } catch (error) {
    // the start of the thread itself reports it
    log.debug(`${name}: was not started in advance: ${reasonOf(error)}`);
    return [];
  }
}

function notBundled(): never {
  throw new Error('only bundled threads are reserved');
}

function takeReserved(name: ThreadName): Worker | undefined {
  const [first] = reserved.get(name) ?? [];
  if (first !== undefined) removeReserved(name, first);
  return first;
}

/** @returns false if it was not reserved any longer */
function removeReserved(name: ThreadName, worker: Worker): boolean {
  const all = reserved.get(name) ?? [];
  reserved.set(
    name,
    all.filter((one) => one !== worker),
  );
  return all.includes(worker);
}
