import { parentPort, workerData } from 'node:worker_threads';

/** Data of a thread whose options are its first message. */
export const LATER = { later: true } as const;

/** Descriptors that a thread opens, and some to spare. */
export const THREAD_DESCRIPTORS = 16;

/** Objects of a request are short-lived: with the default of 48 MiB for new objects, V8 touches all of it before it collects any. */
export const THREAD_LIMITS = { maxYoungGenerationSizeMb: 8 } as const;

/** Returns the options of this thread: those that it was started with, or its first message if it was started in advance. */
export async function threadOptions<T>(): Promise<T> {
  const data: T | typeof LATER = workerData;
  if (!isLater(data)) return data;
  return new Promise((resolve) => {
    // not within the delivery of the message: the thread may block from then on
    parentPort?.once('message', (options: T) => setImmediate(() => resolve(options)));
  });
}

function isLater(data: unknown): data is typeof LATER {
  return typeof data === 'object' && data !== null && 'later' in data;
}
