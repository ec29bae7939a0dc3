import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { besideBundle, isBundled } from './beside-bundle.ts';
import { requireDescriptors } from './free-descriptors.ts';

/** Threads, by the name of their bundle; scripts/bundle.ts lists their sources. */
export type ThreadName = 'vsock-worker' | 'fs-worker' | 'fs-provider-worker';

/** Descriptors that a thread opens, and some to spare. */
const THREAD_DESCRIPTORS = 16;

/** Objects of a request are short-lived: with the default of 48 MiB for new objects, V8 touches all of it before it collects any. */
const THREAD_LIMITS = { maxYoungGenerationSizeMb: 8 } as const;

/**
 * Starts a thread of the VMM or of the SDK. Its code is an asset of the single executable, a file beside the bundle in `dist/`, which
 * bin/load-thread.js loads, or `module` where the sources run unbundled.
 * @throws the system's error where this process has no descriptors left
 */
export function startThread(name: ThreadName, module: () => URL, workerData: object): Worker {
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
  const argv = [typeof bundle === 'string' ? bundle : fileURLToPath(bundle)];
  return new Worker(besideBundle('../bin/load-thread.js'), { ...options, argv });
}
