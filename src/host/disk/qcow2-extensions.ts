import { checkWithin, corrupt, type ImageReader } from './image-reader.ts';

/** Facts of the header's extensions. */
export interface Qcow2Extensions {
  /** QEMU's name of the backing file's format */
  readonly backingFormat: string | undefined;
}

/** Types of extensions (docs/interop/qcow2.rst of QEMU). */
const TYPE = { end: 0, backingFormat: 0xe279_2aca, bitmaps: 0x2385_2875 } as const;
/** Type and length, before the data that is padded to 8 bytes. */
const HEAD_BYTES = 8;
/** Bitmaps extension: place of the directory. */
const BITMAPS = { bytes: 24, directoryBytesAt: 8, directoryAt: 16 } as const;

/**
 * Reads the extensions of a qcow2 header within a range of the image.
 * @throws where one does not end within the range, or names a table beyond the end of the file
 */
export async function readQcow2Extensions(
  image: ImageReader,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<Qcow2Extensions> {
  const bytes = await image.read(from, Math.max(0, to - from));
  let backingFormat: string | undefined;
  for (let at = 0; at + HEAD_BYTES <= bytes.length;) {
    const type = bytes.readUInt32BE(at);
    const length = bytes.readUInt32BE(at + 4);
    if (type === TYPE.end) break;
    const start = at + HEAD_BYTES;
    if (length > bytes.length - start) throw corrupt('Qcow2', 'an extension of its header is too long');
    const data = bytes.subarray(start, start + length);
    if (type === TYPE.backingFormat) backingFormat = data.toString('latin1');
    if (type === TYPE.bitmaps) checkBitmaps(data, image.size);
    at = start + Math.ceil(length / 8) * 8;
  }
  return { backingFormat };
}

function checkBitmaps(data: Buffer, size: number): void {
  if (data.length !== BITMAPS.bytes) throw corrupt('Qcow2', 'its bitmaps extension has another length');
  const bytes = data.readBigUInt64BE(BITMAPS.directoryBytesAt);
  const at = data.readBigUInt64BE(BITMAPS.directoryAt);
  if (bytes > BigInt(size)) throw corrupt('Qcow2', `its bitmap directory has ${bytes} bytes`);
  checkWithin('Qcow2', { name: 'bitmap directory', at, bytes: Number(bytes) }, size);
}
