import type { FileHandle } from 'node:fs/promises';

/** Size of a sector, in `bytes`: disks and block devices are a multiple of it. */
export const SECTOR_BYTES = 512;

/** A format as clients name it; `DynamicVhd` is detected but cannot be declared. */
export type ImageFormat = 'Raw' | 'Qcow2' | 'FixedVhd' | 'DynamicVhd' | 'Vhdx';

/** Random access to an image. */
export interface ImageReader {
  /** in `bytes` */
  readonly size: number;
  /** Reads a range; bytes beyond the end of the image are zero. */
  readonly read: (position: number, length: number) => Promise<Buffer>;
}

/** Creates a reader of an open image of `size` bytes. */
export function imageReader(file: FileHandle, size: number): ImageReader {
  return {
    size,
    read: async (position, length) => {
      const bytes = Buffer.alloc(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await file.read(bytes, done, length - done, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return bytes;
    },
  };
}

/** A table of an image, by its header. */
interface Table {
  readonly name: string;
  readonly at: bigint;
  readonly bytes: number;
}

/**
 * Checks that a table of a header is within its image: QEMU allocates the sizes of the header, and QEMU 10.0 never returns
 * from an io_uring read that crosses the end of a file.
 * @throws naming the table
 */
export function checkWithin(kind: ImageFormat, { name, at, bytes }: Table, end: number): void {
  if (at + BigInt(bytes) <= BigInt(end)) return;
  throw corrupt(kind, `its ${name} (${bytes} bytes at ${at}) is beyond the end of the file (${end})`);
}

/** Makes the error of an image whose header is inconsistent. */
export function corrupt(kind: ImageFormat, reason: string): Error {
  return new Error(`is a corrupt ${kind} image: ${reason}`);
}
