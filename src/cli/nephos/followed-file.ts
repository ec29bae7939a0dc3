import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

/** Interval between two looks at the file, in milliseconds. */
const POLL_MS = 100;

/** Part of the file that is shown at first, and largest part of one read, in bytes. */
const TAIL_BYTES = 65_536;

/** Returns a stream with the last bytes of a file, and further ones until `isOpen` returns false. */
export function openFollowedFile(path: string, isOpen: () => Promise<boolean>): Readable {
  return Readable.from(partsOf(path, isOpen));
}

async function* partsOf(path: string, isOpen: () => Promise<boolean>): AsyncGenerator<Buffer> {
  await using file = await open(path, 'r');
  let at = Math.max(0, (await file.stat()).size - TAIL_BYTES);
  for (;;) {
    // before the read: output of the last moment is shown
    const isLast = !(await isOpen());
    for (;;) {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, at);
      if (bytesRead === 0) break;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
    if (isLast) return;
    await delay(POLL_MS);
    // a stream that is destroyed ends its generator at a yield
    yield Buffer.alloc(0);
  }
}
