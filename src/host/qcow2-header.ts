import type { FileHandle } from 'node:fs/promises';

/** What a qcow2 image says it is based on. */
export interface Backing {
  /** as it stands in the image: a file name, absolute or seen from the image's folder */
  readonly name: string;
  /** the engine's name of its format, where the image has one */
  readonly format: string | undefined;
}

const HEADER_BYTES = 104;
/** The header, its extensions and the backing file's name are in the first cluster, 2 MiB at most. */
const CLUSTER_BITS = { least: 9, most: 21 } as const;
const NAME_BYTES_MAX = 1023;
/** Incompatible feature bit: the guest's data is in another file. */
const EXTERNAL_DATA = 1n << 2n;
const FORMAT_EXTENSION = 0xe279_2aca;

/**
 * Reads what decides how a qcow2 image is opened; the rest is checked by the engine.
 * @throws where the header makes no sense or asks for what is not supported
 */
export async function readQcow2(file: FileHandle): Promise<{ backing?: Backing }> {
  const header = await read(file, 0, HEADER_BYTES);
  if (header.toString('latin1', 0, 4) !== 'QFI\xfb') throw new Error('is no qcow2 image');
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw new Error(`is qcow2 of the unknown version ${version}`);
  const bits = header.readUInt32BE(20);
  if (bits < CLUSTER_BITS.least || bits > CLUSTER_BITS.most) throw corrupt(`clusters of 2^${bits} bytes`);
  if (header.readUInt32BE(32) !== 0) throw new Error('is an encrypted qcow2 image, which is not supported');
  if (version === 3 && (header.readBigUInt64BE(72) & EXTERNAL_DATA) !== 0n) {
    throw new Error('keeps its data in another file, which is not supported');
  }
  const at = Number(header.readBigUInt64BE(8));
  return at === 0 ? {} : { backing: await readBacking(file, header, { at, cluster: 2 ** bits }) };
}

interface Place {
  readonly at: number;
  readonly cluster: number;
}

async function readBacking(file: FileHandle, header: Buffer, { at, cluster }: Place): Promise<Backing> {
  const length = header.readUInt32BE(16);
  if (length === 0 || length > NAME_BYTES_MAX || at + length > cluster) {
    throw corrupt('the name of its backing file is out of place');
  }
  const start = header.readUInt32BE(4) === 2 ? 72 : header.readUInt32BE(100);
  const name = (await read(file, at, length)).toString('utf8');
  return { name, format: start < at ? findFormat(await read(file, start, at - start)) : undefined };
}

/** The extensions of the header, each with type, length and data that is padded to 8 bytes. */
function findFormat(extensions: Buffer): string | undefined {
  for (let at = 0; at + 8 <= extensions.length;) {
    const type = extensions.readUInt32BE(at);
    const length = extensions.readUInt32BE(at + 4);
    if (type === FORMAT_EXTENSION) return extensions.toString('latin1', at + 8, at + 8 + length);
    if (type === 0) return undefined;
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return undefined;
}

async function read(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, position);
  if (bytesRead < Math.min(length, 72)) throw corrupt('it ends too early');
  return buffer;
}

function corrupt(what: string): Error {
  return new Error(`is a corrupt qcow2 image: ${what}`);
}
