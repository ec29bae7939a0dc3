import type { OpenedFile } from '../files/file-range.ts';
import { TooLargeError } from './unpack-error.ts';

/** How a packed file is unpacked. */
export interface Unpacking {
  /** the same file is unpacked in another way for another purpose */
  readonly purpose: 'kernel' | 'initramfs';
  /** most bytes that it may have unpacked */
  readonly limit: number;
  /** Unpacks it part by part; the caller stops where they become too many. */
  readonly unpack: () => AsyncIterable<Buffer>;
  /** Tells whether what was unpacked can be used at all. */
  readonly isUsable: (unpacked: OpenedFile) => Promise<boolean>;
}

/** The unpacked parts. @throws TooLargeError as soon as they are more than the limit */
export async function* unpackWithin({ unpack, limit }: Unpacking): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const part of unpack()) {
    bytes += part.length;
    if (bytes > limit) throw new TooLargeError(`it has more than ${limit} bytes unpacked`);
    yield part;
  }
}
