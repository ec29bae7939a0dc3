import { SECTOR_BYTES, type ImageReader } from './image-reader.ts';

/** An image format of QEMU that is not supported. */
export interface UnsupportedFormat {
  /** name in messages */
  readonly name: string;
  /** QEMU's name, for `qemu-img convert -f` */
  readonly driver: string;
  /** returns whether the first and last bytes of a file are those of the format */
  readonly matches: (head: Buffer, tail: Buffer) => boolean;
}

/** Matches the beginning of an image, in latin1. */
function startsWith(...magics: readonly string[]): UnsupportedFormat['matches'] {
  return (head) => magics.some((magic) => head.toString('latin1', 0, magic.length) === magic);
}

const VDI_SIGNATURE = { at: 64, value: 0xbeda_107f } as const;
const QCOW_VERSION = { at: 4, value: 1 } as const;
/** A VMDK descriptor is a text, whose first line may follow other comments. */
const VMDK_DESCRIPTOR = /^(?:#.*\n|[ \t\r]*\n)*# Disk DescriptorFile/;

/** Formats by the magic numbers of QEMU's block drivers (`bdrv_probe`). */
const FOREIGN: readonly UnsupportedFormat[] = [
  {
    name: 'qcow (version 1)',
    driver: 'qcow',
    matches: (head, tail) =>
      startsWith('QFI\xfb')(head, tail) && head.readUInt32BE(QCOW_VERSION.at) === QCOW_VERSION.value,
  },
  { name: 'QED', driver: 'qed', matches: startsWith('QED\0') },
  {
    name: 'VMDK',
    driver: 'vmdk',
    matches: (head, tail) =>
      startsWith('KDMV', 'COWD')(head, tail) || VMDK_DESCRIPTOR.test(head.toString('latin1')),
  },
  {
    name: 'VDI',
    driver: 'vdi',
    matches: (head) => head.readUInt32LE(VDI_SIGNATURE.at) === VDI_SIGNATURE.value,
  },
  { name: 'Parallels', driver: 'parallels', matches: startsWith('WithoutFreeSpace', 'WithouFreSpacExt') },
  { name: 'LUKS', driver: 'luks', matches: startsWith('LUKS\xba\xbe') },
  { name: 'Bochs', driver: 'bochs', matches: startsWith('Bochs Virtual HD Image') },
  { name: 'cloop', driver: 'cloop', matches: startsWith('#!/bin/sh\n#V2.0 Format\n') },
  { name: 'DMG', driver: 'dmg', matches: (_head, tail) => startsWith('koly')(tail, tail) },
];

/** Detects a format that is not supported; undefined where there is none. */
export async function detectUnsupported(image: ImageReader): Promise<UnsupportedFormat | undefined> {
  const [head, tail] = await Promise.all([
    image.read(0, SECTOR_BYTES),
    image.read(Math.max(0, image.size - SECTOR_BYTES), SECTOR_BYTES),
  ]);
  return FOREIGN.find(({ matches }) => matches(head, tail));
}

/** Makes the error of an image of an unsupported format, with the command that converts it. */
export function unsupportedFormatError(path: string, { name, driver }: UnsupportedFormat): Error {
  const target = `${path.replace(/\.[^./]*$/, '')}.converted.qcow2`;
  const command = `qemu-img convert -f ${driver} -O qcow2 ${shellWord(path)} ${shellWord(target)}`;
  return new Error(
    `is a ${name} image, which is not supported: convert it (${command}), or declare image_type=raw if its bytes are the disk`,
  );
}

/** Quotes a path as one word of a shell's command line. */
function shellWord(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
