import type { FirmwareForm } from '../../devices/common/machine-plan.ts';
import { packingOf } from './bzimage.ts';

/*
 * A firmware image has no magic number. These checks detect other files that users pass by mistake, with which a VM would
 * start and do nothing, or QEMU fail with "could not load PC BIOS".
 */

/** The parts of a file that {@link firmwareForm} reads. */
export interface FileEnds {
  /** size of the file in `bytes` */
  readonly size: number;
  /** its first bytes, 512 where it is that long */
  readonly head: Buffer;
  /** its last bytes, {@link VECTOR_BYTES} where it is that long */
  readonly tail: Buffer;
}

/** The processor starts at the last 16 bytes below 4 GiB, where the image ends. */
export const VECTOR_BYTES = 16;

/** QEMU maps a ROM whose size is a multiple of this. */
const ROM_UNIT = 65_536;
/** Size of a block of QEMU's flash device. */
const FLASH_UNIT = 4096;
/** Largest flash of a PC in QEMU; a larger one would overlap the interrupt controllers. */
const MAX_BYTES = 8 * 2 ** 20;

const EXPECTED = 'neither a bzImage, an ELF with a PVH note, nor a firmware image';

/**
 * Returns in which memory QEMU maps a firmware image.
 * @throws where the file is no firmware image; the message names its kind or the expected ones
 */
export function firmwareForm(ends: FileEnds): FirmwareForm {
  const { size } = ends;
  if (size === 0) throw new Error('is empty');
  const other = otherKind(ends);
  if (other !== undefined) throw new Error(other);
  if (size % FLASH_UNIT !== 0) throw new Error(`is ${EXPECTED}, whose size is a multiple of 4 KiB`);
  if (size > MAX_BYTES) throw new Error(`is ${EXPECTED}, which has at most 8 MiB`);
  if (isBlank(ends.tail)) throw new Error(`is ${EXPECTED}: its last 16 bytes, the reset vector, are blank`);
  return size % ROM_UNIT === 0 ? 'rom' : 'flash';
}

const FOR_X86 = "the VM's processor is x86-64";

const DISK = 'is a disk image: give it as a disk, and a kernel or firmware that boots it';

interface Kind {
  readonly at: number;
  readonly magic: string;
  readonly text: string;
}

const KINDS: readonly Kind[] = [
  { at: 56, magic: 'ARM\x64', text: `is an arm64 kernel: ${FOR_X86}` },
  { at: 56, magic: 'RSC\x05', text: `is a RISC-V kernel: ${FOR_X86}` },
  {
    at: 0,
    magic: 'MZ',
    text: 'is an EFI program: start it from the EFI system partition of a disk, with firmware as the kernel',
  },
  { at: 0, magic: '070701', text: 'is a cpio archive: give it as the initramfs' },
  { at: 0, magic: '#!', text: 'is a script' },
  ...['QFI\xfb', 'vhdxfile', 'KDMV', 'conectix', '<<< '].map((magic) => ({ at: 0, magic, text: DISK })),
];

function otherKind({ head, size, tail }: FileEnds): string | undefined {
  const kind = KINDS.find(({ at, magic }) => head.toString('latin1', at, at + magic.length) === magic);
  if (kind !== undefined) return kind.text;
  // a magic number of two or three bytes may also be in a ROM
  const mayBeRom = size % FLASH_UNIT === 0 && size <= MAX_BYTES && !isBlank(tail);
  const packing = packingOf(head);
  if (packing !== undefined && !mayBeRom) return `is compressed with ${packing}: decompress it first`;
  if (head.toString('latin1', 510, 512) === '\x55\xaa' && !mayBeRom) return DISK;
  return isText(head) ? 'is a text file' : undefined;
}

/** Returns whether bytes are text in UTF-8: no control characters, and some ASCII. */
function isText(head: Buffer): boolean {
  const isTextByte = (byte: number): boolean =>
    (byte >= 0x20 && byte < 0xf8) || [0x09, 0x0a, 0x0d].includes(byte);
  return head.every(isTextByte) && head.some((byte) => byte < 0x7f);
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0) || bytes.every((byte) => byte === 0xff);
}
