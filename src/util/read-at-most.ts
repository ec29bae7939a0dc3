import type { Readable } from 'node:stream';

/** Reads a stream to its end, or its first `limit` bytes where it has more: a device such as /dev/zero has no end. */
export async function readAtMost(stream: Readable, limit: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of stream) {
    const bytes = Buffer.from(piece);
    pieces.push(bytes);
    length += bytes.length;
    if (length >= limit) break;
  }
  return Buffer.concat(pieces).subarray(0, limit);
}
