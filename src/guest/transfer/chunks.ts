import { CHUNK_BYTES, CHUNKS_IN_FLIGHT, type Sftp } from './sftp.ts';

/** An open file in the guest. */
export interface OpenGuestFile {
  readonly sftp: Sftp;
  readonly path: string;
  readonly handle: Buffer;
}

/** Reads a file from its start, with several requests at the same time. */
export async function* readChunks({ sftp, path, handle }: OpenGuestFile): AsyncGenerator<Buffer, void> {
  const pending: Promise<Buffer>[] = [];
  let position = 0;
  for (;;) {
    while (pending.length < CHUNKS_IN_FLIGHT) {
      const chunk = sftp.readChunk(path, handle, position);
      // awaited in order; an earlier one may fail first
      chunk.catch(() => undefined);
      pending.push(chunk);
      position += CHUNK_BYTES;
    }
    const bytes = await pending.shift();
    if (bytes === undefined || bytes.length === 0) return;
    yield bytes;
    if (bytes.length < CHUNK_BYTES) return;
  }
}

/** Writes a file from its start, with several requests at the same time. `onBytes` gets the number of bytes of each part. */
export async function writeChunks(
  { sftp, path, handle }: OpenGuestFile,
  source: AsyncIterable<unknown>,
  onBytes: (count: number) => void,
): Promise<void> {
  const pending: Promise<void>[] = [];
  let position = 0;
  for await (const part of source) {
    const bytes = bytesOf(part);
    for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
      const chunk = bytes.subarray(start, start + CHUNK_BYTES);
      const written = sftp.write(path, handle, chunk, position).then(() => onBytes(chunk.length));
      written.catch(() => undefined);
      pending.push(written);
      position += chunk.length;
      if (pending.length >= CHUNKS_IN_FLIGHT) await pending.shift();
    }
  }
  await Promise.all(pending);
}

function bytesOf(part: unknown): Buffer {
  if (typeof part === 'string') return Buffer.from(part);
  if (part instanceof Uint8Array) return Buffer.from(part.buffer, part.byteOffset, part.byteLength);
  throw new TypeError('a stream for a file has to contain bytes or text');
}
