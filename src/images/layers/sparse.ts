import type { ByteReader } from './byte-reader.ts';
import type { PaxRecord } from './pax.ts';
import { BLOCK_BYTES, readNumber, TarError } from './tar-header.ts';

/*
 * Sparse files of GNU tar: the old format (type `S`, map in header blocks) and those of extended headers (0.0, 0.1: map in
 * records; 1.0: map before the content). The content in the archive has the data segments alone.
 */

/** A part of a sparse file that has data, in `bytes`. */
export interface Segment {
  readonly offset: number;
  readonly length: number;
}

/** Layout of a sparse file. */
export interface SparseMap {
  /** size of the file with its holes, in `bytes` */
  readonly size: number;
  /** ascending, without overlap */
  readonly segments: readonly Segment[];
}

const SEGMENTS_MAX = 65_536;
const OLD_FORMAT = { map: 386, entries: 4, isExtended: 482, size: 483 } as const;
const EXTENSION = { entries: 21, isExtended: 504 } as const;
const ENTRY_BYTES = 24;
const NUMBER_BYTES = 12;
const NEWLINE = 0x0a;
const ZEROS = Buffer.alloc(65_536);

/** Reads the map of the old format: from the header, and from the blocks behind it. */
export async function readOldSparseMap(header: Buffer, reader: ByteReader): Promise<SparseMap> {
  const segments = oldSegments(header, OLD_FORMAT.map, OLD_FORMAT.entries);
  let isExtended = header[OLD_FORMAT.isExtended] !== 0;
  while (isExtended) {
    const block = await reader.read(BLOCK_BYTES);
    if (block === undefined || segments.length > SEGMENTS_MAX) throw broken();
    segments.push(...oldSegments(block, 0, EXTENSION.entries));
    isExtended = block[EXTENSION.isExtended] !== 0;
  }
  return { size: readNumber(header, OLD_FORMAT.size, NUMBER_BYTES), segments };
}

function oldSegments(block: Buffer, start: number, count: number): Segment[] {
  const segments: Segment[] = [];
  for (let index = 0; index < count; index++) {
    const at = start + index * ENTRY_BYTES;
    // an empty field ends the map
    if (block[at] === 0 || block[at + NUMBER_BYTES] === 0) break;
    segments.push({
      offset: readNumber(block, at, NUMBER_BYTES),
      length: readNumber(block, at + NUMBER_BYTES, NUMBER_BYTES),
    });
  }
  return segments;
}

/** Returns whether records describe a sparse file whose map precedes its content (1.0). */
export function hasSparseMapInContent(records: readonly PaxRecord[]): boolean {
  return textOf(records, 'GNU.sparse.major') === '1';
}

/** Reads the map of formats 0.0 and 0.1 from records; undefined for a file that is not sparse. */
export function sparseMapOf(records: readonly PaxRecord[]): SparseMap | undefined {
  const size = textOf(records, 'GNU.sparse.size');
  if (size === undefined) return undefined;
  const list = textOf(records, 'GNU.sparse.map');
  const numbers =
    list === undefined
      ? records
          .filter(({ key }) => key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes')
          .map(({ value }) => decimal(value.toString('latin1')))
      : list === ''
        ? []
        : list.split(',').map(decimal);
  return { size: decimal(size), segments: pairs(numbers) };
}

/** Reads the map of format 1.0. @returns it with the bytes that it takes of the content */
export async function readSparseMap(
  records: readonly PaxRecord[],
  reader: ByteReader,
): Promise<SparseMap & { readonly mapBytes: number }> {
  const size = decimal(textOf(records, 'GNU.sparse.realsize') ?? '');
  const blocks: Buffer[] = [];
  let lines = 0;
  let needed: number | undefined;
  // the map is the number of segments, then two numbers for each, a line for each number, padded to a block
  while (needed === undefined || lines < needed) {
    const block = await reader.read(BLOCK_BYTES);
    if (block === undefined || blocks.length * BLOCK_BYTES > SEGMENTS_MAX * ENTRY_BYTES) throw broken();
    blocks.push(block);
    for (const byte of block) if (byte === NEWLINE) lines++;
    needed ??= 1 + 2 * decimal(block.toString('latin1').split('\n')[0] ?? '');
  }
  const text = Buffer.concat(blocks).toString('latin1').split('\n');
  return {
    size,
    mapBytes: blocks.length * BLOCK_BYTES,
    segments: pairs(text.slice(1, needed).map(decimal)),
  };
}

/** Checks a map against the content in the archive. @throws TarError */
export function checkSparseMap({ size, segments }: SparseMap, contentBytes: number): void {
  let end = 0;
  let total = 0;
  for (const { offset, length } of segments) {
    if (offset < end) throw broken();
    end = offset + length;
    total += length;
  }
  if (end > size || total !== contentBytes || !Number.isSafeInteger(size)) throw broken();
}

/** Yields a sparse file with its holes as zeros. */
export async function* expandSparse(map: SparseMap, reader: ByteReader): AsyncGenerator<Buffer> {
  let at = 0;
  for (const { offset, length } of map.segments) {
    yield* zeros(offset - at);
    yield* reader.parts(length);
    at = offset + length;
  }
  yield* zeros(map.size - at);
}

function* zeros(length: number): Generator<Buffer> {
  for (let left = length; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, left);
}

function pairs(numbers: readonly number[]): Segment[] {
  if (numbers.length % 2 !== 0 || numbers.length > 2 * SEGMENTS_MAX) throw broken();
  const segments: Segment[] = [];
  for (let index = 0; index < numbers.length; index += 2) {
    segments.push({ offset: numbers[index] ?? 0, length: numbers[index + 1] ?? 0 });
  }
  return segments;
}

function textOf(records: readonly PaxRecord[], key: string): string | undefined {
  return records.findLast((record) => record.key === key)?.value.toString('latin1');
}

function decimal(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw broken();
  return Number(text);
}

function broken(): TarError {
  return new TarError('has a sparse file with a broken map');
}
