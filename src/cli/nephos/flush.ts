import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';

/** Ends a stream and waits until its bytes are written, its reader has closed, or a signal ends the wait. */
export async function flushStream(stream: Writable, signal?: AbortSignal): Promise<void> {
  stream.end();
  await finished(stream, signal === undefined ? {} : { signal }).catch(() => undefined);
}
