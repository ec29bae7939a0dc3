import { TarError } from './tar-header.ts';

/** Reads a stream by lengths. One reading at a time. */
export interface ByteReader {
  /** Reads exactly `length` bytes; undefined at the end of the stream. @throws TarError where it ends within them */
  readonly read: (length: number) => Promise<Buffer | undefined>;
  /** Yields exactly `length` bytes as they arrive. @throws TarError where the stream ends before */
  readonly parts: (length: number) => AsyncGenerator<Buffer>;
  /** Reads the rest of the stream. */
  readonly drain: () => Promise<void>;
}

const EMPTY = Buffer.alloc(0);

/** Makes a reader of a stream. */
export function byteReader(stream: AsyncIterator<Buffer>): ByteReader {
  let rest: Buffer = EMPTY;

  /** Takes the next bytes, at most `length`; undefined at the end. */
  const next = async (length: number): Promise<Buffer | undefined> => {
    while (rest.length === 0) {
      const result = await stream.next();
      if (result.done === true) return undefined;
      rest = result.value;
    }
    const part = rest.subarray(0, length);
    rest = rest.subarray(part.length);
    return part;
  };

  async function* parts(length: number): AsyncGenerator<Buffer> {
    for (let left = length; left > 0;) {
      const part = await next(left);
      if (part === undefined) throw new TarError('ends within an entry: it is truncated');
      left -= part.length;
      yield part;
    }
  }

  return {
    parts,
    async read(length) {
      if (rest.length >= length) return next(length);
      const first = await next(length);
      if (first === undefined || first.length === length) return first;
      const pieces = [first];
      for await (const part of parts(length - first.length)) pieces.push(part);
      return Buffer.concat(pieces);
    },
    async drain() {
      while ((await next(Number.MAX_SAFE_INTEGER)) !== undefined);
    },
  };
}
