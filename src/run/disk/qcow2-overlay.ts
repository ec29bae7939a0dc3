import type { DiskImage } from '../../images/image.ts';

/*
 * An empty qcow2 image on a backing file (docs/interop/qcow2.txt of QEMU): header, reference counts, L1 table. QEMU allocates the rest. The
 * format of the backing file is recorded, so that a guest's data never decides it.
 */

const CLUSTER_BITS = 16;
const CLUSTER = 2 ** CLUSTER_BITS;

/** Bytes of the disk that one entry of the L1 table covers: an L2 table has one cluster of 8-byte entries. */
const L1_ENTRY_COVERS = (CLUSTER / 8) * CLUSTER;

/** Length of the header of version 3, in bytes. */
const HEADER = 104;

/** Width of a reference count, as a power of two: 16 bits. */
const REFCOUNT_ORDER = 4;

/** Clusters whose counts one block of reference counts has. */
const REFCOUNTS_IN_BLOCK = CLUSTER / 2;

/** Type of the header extension with the format of the backing file. */
const BACKING_FORMAT = 0xe2792aca;

/** Longest name of a backing file, in bytes. */
const NAME_MAX = 1023;

/** Names of formats in QEMU. */
export const FORMATS = { Raw: 'raw', Qcow2: 'qcow2', Vhdx: 'vhdx', FixedVhd: 'vpc' } as const;

/**
 * Returns an empty overlay.
 * @param bytes size of the disk, a multiple of 512
 * @throws RangeError for a path, or a size, that the format does not have
 */
export function qcow2Overlay(bytes: number, backing: Pick<DiskImage, 'path' | 'format'>): Buffer {
  const name = Buffer.from(backing.path);
  if (name.length > NAME_MAX) throw new RangeError(`its path is longer than ${NAME_MAX} bytes`);
  const l1Entries = Math.ceil(bytes / L1_ENTRY_COVERS);
  // header, table of reference counts, one block of them, L1 table
  const clusters = 3 + Math.ceil((l1Entries * 8) / CLUSTER);
  if (clusters > REFCOUNTS_IN_BLOCK) throw new RangeError(`its size of ${bytes} bytes is too large`);
  const image = Buffer.alloc(clusters * CLUSTER);
  const extension = backingFormat(FORMATS[backing.format]);
  extension.copy(image, HEADER);
  const nameAt = HEADER + extension.length;
  name.copy(image, nameAt);
  image.write('QFI\u00FB', 0, 'latin1');
  image.writeUInt32BE(3, 4);
  image.writeBigUInt64BE(BigInt(nameAt), 8);
  image.writeUInt32BE(name.length, 16);
  image.writeUInt32BE(CLUSTER_BITS, 20);
  image.writeBigUInt64BE(BigInt(bytes), 24);
  image.writeUInt32BE(l1Entries, 36);
  image.writeBigUInt64BE(BigInt(3 * CLUSTER), 40);
  image.writeBigUInt64BE(BigInt(CLUSTER), 48);
  image.writeUInt32BE(1, 56);
  image.writeUInt32BE(REFCOUNT_ORDER, 96);
  image.writeUInt32BE(HEADER, 100);
  image.writeBigUInt64BE(BigInt(2 * CLUSTER), CLUSTER);
  for (let i = 0; i < clusters; i++) image.writeUInt16BE(1, 2 * CLUSTER + i * 2);
  return image;
}

/** Header extension, padded to 8 bytes, and the end of the extensions. */
function backingFormat(name: string): Buffer {
  const bytes = Buffer.alloc(8 + Math.ceil(name.length / 8) * 8 + 8);
  bytes.writeUInt32BE(BACKING_FORMAT, 0);
  bytes.writeUInt32BE(name.length, 4);
  bytes.write(name, 8);
  return bytes;
}
