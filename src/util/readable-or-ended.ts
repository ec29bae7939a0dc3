import { once } from 'node:events';
import type { Readable } from 'node:stream';

/** Waits until a stream has bytes or has ended. Rejects on abort. */
export async function readableOrEnded(stream: Readable, signal: AbortSignal): Promise<void> {
  const done = new AbortController();
  const limit = { signal: AbortSignal.any([signal, done.signal]) };
  const events = ['readable', 'end', 'close'].map((event) => once(stream, event, limit));
  try {
    await Promise.race(events);
  } finally {
    done.abort();
    await Promise.allSettled(events);
  }
}
