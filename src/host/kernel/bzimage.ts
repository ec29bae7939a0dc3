import { readRange, type FileRange, type OpenedFile } from '../files/file-range.ts';

/** Compression of the kernel in a bzImage; `elf` is not compressed. */
export type Packing = 'gzip' | 'xz' | 'zstd' | 'lz4' | 'bzip2' | 'lzma' | 'lzo' | 'elf';

/** Kind of a kernel file. */
export type KernelKind = 'elf' | 'bzimage' | 'firmware';

const MAGIC: readonly (readonly [Packing, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['lz4', [0x02, 0x21, 0x4c, 0x18]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['lzma', [0x5d, 0x00, 0x00]],
  ['lzo', [0x89, 0x4c, 0x5a, 0x4f]],
  ['elf', [0x7f, 0x45, 0x4c, 0x46]],
];

// offsets of the setup header: Documentation/arch/x86/boot.rst of Linux
const SETUP_SECTS = 0x1f1;
const HEADER_MAGIC = 0x202;
const VERSION = 0x206;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;

/** Bytes at the start of a file that {@link kernelKind} needs. */
export const KERNEL_HEAD_BYTES = 0x250;

/** Returns the kind: an ELF (entered through PVH), a Linux bzImage, or any other file: firmware. */
export function kernelKind(head: Buffer): KernelKind {
  if (startsWith(head, 0, [0x7f, 0x45, 0x4c, 0x46])) return 'elf';
  if (head.length >= KERNEL_HEAD_BYTES && head.toString('latin1', HEADER_MAGIC, HEADER_MAGIC + 4) === 'HdrS')
    return 'bzimage';
  return 'firmware';
}

/** Detects the compression of bytes by their magic number. */
export function packingOf(head: Buffer): Packing | undefined {
  return MAGIC.find(([, magic]) => startsWith(head, 0, magic))?.[0];
}

/** The packed kernel inside a bzImage. */
export interface Payload {
  readonly packing: Packing;
  readonly range: FileRange;
}

/** Finds the packed kernel of a bzImage; undefined before boot protocol 2.08 or where the header is inconsistent. */
export async function findPayload(image: OpenedFile): Promise<Payload | undefined> {
  const head = await readRange({ ...image, offset: 0, length: KERNEL_HEAD_BYTES });
  if (head.length < KERNEL_HEAD_BYTES || head.readUInt16LE(VERSION) < 0x208) return undefined;
  const sectors = head.readUInt8(SETUP_SECTS) || 4;
  const offset = (sectors + 1) * 512 + head.readUInt32LE(PAYLOAD_OFFSET);
  const length = head.readUInt32LE(PAYLOAD_LENGTH);
  const { size } = await image.file.stat();
  if (offset + length > size || length < 8) return undefined;
  const packing = packingOf(await readRange({ ...image, offset, length: 8 }));
  if (packing === undefined) return undefined;
  // the last four bytes are the unpacked size, which gzip keeps itself and the other formats do not know
  const extra = packing === 'elf' || packing === 'gzip' ? 0 : 4;
  return { packing, range: { ...image, offset, length: length - extra } };
}

function startsWith(bytes: Buffer, at: number, magic: readonly number[]): boolean {
  return magic.every((byte, i) => bytes[at + i] === byte);
}
