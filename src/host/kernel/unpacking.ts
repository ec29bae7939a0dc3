import type { OpenedFile } from '../files/file-range.ts';
import { TooLargeError } from './unpack-error.ts';

/** Parameters of the unpacking of a file. */
export interface Unpacking {
  /** part of the name in the cache: each purpose unpacks a file in its own way */
  readonly purpose: 'kernel' | 'initramfs';
  /** most unpacked bytes */
  readonly limit: number;
  /** Unpacks it part by part; the caller stops at the limit. */
  readonly unpack: () => AsyncIterable<Buffer>;
  /** Returns whether the unpacked file can be used. */
  readonly isUsable: (unpacked: OpenedFile) => Promise<boolean>;
}

/** Yields the unpacked parts. @throws TooLargeError as soon as they exceed the limit */
export async function* unpackWithin({ unpack, limit }: Unpacking): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const part of unpack()) {
    bytes += part.length;
    if (bytes > limit) throw new TooLargeError(`it has more than ${limit} bytes unpacked`);
    yield part;
  }
}
