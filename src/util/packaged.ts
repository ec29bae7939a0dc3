import { join } from 'node:path';
import { getAsset, isSea } from 'node:sea';
import { Worker } from 'node:worker_threads';

/** Defined by scripts/bundle.ts: the code of a thread then stands in a bundle of its own. */
declare const NEPHOS_VERSION: string;

/** Threads of the VMM, by the name of their bundle; scripts/bundle.ts lists their sources. */
export type ThreadName = 'vsock-worker';

/**
 * Starts a thread of the VMM. Its code is an asset of the single executable, a file beside the bundle in `dist/`, or
 * `module` where the sources run unbundled.
 */
export function startThread(name: ThreadName, module: () => URL, workerData: object): Worker {
  if (isSea()) return new Worker(getAsset(`${name}.cjs`, 'utf8'), { eval: true, workerData });
  const file = typeof NEPHOS_VERSION === 'string' ? join(__dirname, `${name}.cjs`) : module();
  return new Worker(file, { workerData });
}
