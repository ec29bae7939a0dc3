import { join } from 'node:path';
import { getAsset, isSea } from 'node:sea';
import { Worker } from 'node:worker_threads';
import { requireDescriptors } from './free-descriptors.ts';

/** Defined by scripts/bundle.ts: the code of a thread is then a bundle of its own. */
declare const NEPHOS_VERSION: string;

/** Threads of the VMM, by the name of their bundle; scripts/bundle.ts lists their sources. */
export type ThreadName = 'vsock-worker';

/** Descriptors that a thread opens, and some to spare. */
const THREAD_DESCRIPTORS = 16;

/**
 * Starts a thread of the VMM. Its code is an asset of the single executable, a file beside the bundle in `dist/`, or
 * `module` where the sources run unbundled.
 * @throws the system's error where this process has no descriptors left
 */
export function startThread(name: ThreadName, module: () => URL, workerData: object): Worker {
  // Node 20 never closes an epoll descriptor where the start of a thread fails for lack of descriptors
  requireDescriptors(THREAD_DESCRIPTORS);
  if (isSea()) return new Worker(getAsset(`${name}.cjs`, 'utf8'), { eval: true, workerData });
  const file = typeof NEPHOS_VERSION === 'string' ? join(__dirname, `${name}.cjs`) : module();
  return new Worker(file, { workerData });
}
