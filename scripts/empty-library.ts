// Shared library (ELF, 64 bits) that takes the place of another one: it has the name and the functions of that, each of which returns a
// number. The file has the header, four segments, hash table, symbols, names, code, and the dynamic section, which the loader writes to.

/** A library: its name for the loader, and its functions with the number that each returns (0 to 255). */
export interface EmptyLibrary {
  readonly name: string;
  readonly functions: Readonly<Record<string, number>>;
}

/** Processor of a library, by its name in Node, with its number in ELF (`e_machine`) and its instructions. */
export const PROCESSORS = {
  // `mov eax, value; ret; nop; nop`
  x64: { machine: 62, returnNumber: (value: number) => [0xb8, value, 0, 0, 0, 0xc3, 0x90, 0x90] },
  // `movz w0, value; ret`
  arm64: {
    machine: 183,
    returnNumber: (value: number) => [(value << 5) & 0xff, value >> 3, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6],
  },
} as const;

const CODE_BYTES = 8;

/** Largest page of the processors: the dynamic section is on pages of its own, as it alone is written to. */
const PAGE_BYTES = 0x1_0000;

/** Values of `p_type` and `p_flags`. */
const SEGMENT = { load: 1, dynamic: 2, stack: 0x6474_e551 } as const;
const [EXECUTABLE, WRITABLE] = [5, 6];

/** Values of `d_tag`; the hash table is that of GNU. */
const TAG = {
  end: 0,
  hash: 0x6fff_fef5,
  names: 5,
  symbols: 6,
  namesBytes: 10,
  symbolBytes: 11,
  name: 14,
} as const;

const HEADER_BYTES = 64;
const SEGMENT_BYTES = 56;
const SYMBOL_BYTES = 24;
const SEGMENTS = 4;

/** Returns the file of a library. */
export function emptyLibrary(library: EmptyLibrary, { machine, returnNumber }: Processor): Buffer {
  const functions = Object.entries(library.functions);
  const names = nameTable([library.name, ...functions.map(([name]) => name)]);
  const hash = HEADER_BYTES + SEGMENTS * SEGMENT_BYTES;
  const symbols = align(hash + hashBytes(functions.length));
  const code = symbols + SYMBOL_BYTES * (functions.length + 1);
  const strings = code + CODE_BYTES * functions.length;
  const end = align(strings + names.bytes.length);
  const dynamic = dynamicSection([
    [TAG.name, names.offsetOf(library.name)],
    [TAG.hash, hash],
    [TAG.names, strings],
    [TAG.symbols, symbols],
    [TAG.namesBytes, names.bytes.length],
    [TAG.symbolBytes, SYMBOL_BYTES],
    [TAG.end, 0],
  ]);
  const written = { offset: end, address: end + PAGE_BYTES, bytes: dynamic.length };
  return join([
    [0, header(machine)],
    [HEADER_BYTES, segment(SEGMENT.load, EXECUTABLE, { offset: 0, address: 0, bytes: end })],
    [HEADER_BYTES + SEGMENT_BYTES, segment(SEGMENT.load, WRITABLE, written)],
    [HEADER_BYTES + 2 * SEGMENT_BYTES, segment(SEGMENT.dynamic, WRITABLE, written)],
    [HEADER_BYTES + 3 * SEGMENT_BYTES, segment(SEGMENT.stack, WRITABLE, { offset: 0, address: 0, bytes: 0 })],
    [hash, hashTable(functions.map(([name]) => name))],
    [symbols, symbolTable(functions.map(([name], i) => [names.offsetOf(name), code + i * CODE_BYTES]))],
    [code, Buffer.from(functions.flatMap(([, value]) => returnNumber(value)))],
    [strings, names.bytes],
    [end, dynamic],
  ]);
}

type Processor = (typeof PROCESSORS)[keyof typeof PROCESSORS];

/** Rounds up to a multiple of 8, as the loader needs it. */
function align(offset: number): number {
  return Math.ceil(offset / 8) * 8;
}

/** Joins pieces of a file, which have offsets in ascending order. */
function join(pieces: readonly (readonly [offset: number, bytes: Buffer])[]): Buffer {
  const [offset, last] = pieces.at(-1) ?? [0, Buffer.alloc(0)];
  const file = Buffer.alloc(offset + last.length);
  for (const [at, bytes] of pieces) bytes.copy(file, at);
  return file;
}

/** Elf64_Ehdr: little-endian, a shared object (`ET_DYN`), without sections. */
function header(machine: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.write('\x7fELF\x02\x01\x01', 'latin1');
  bytes.writeUInt16LE(3, 16);
  bytes.writeUInt16LE(machine, 18);
  bytes.writeUInt32LE(1, 20);
  bytes.writeUInt32LE(HEADER_BYTES, 32);
  bytes.writeUInt16LE(HEADER_BYTES, 52);
  bytes.writeUInt16LE(SEGMENT_BYTES, 54);
  bytes.writeUInt16LE(SEGMENTS, 56);
  return bytes;
}

interface Place {
  readonly offset: number;
  readonly address: number;
  readonly bytes: number;
}

/** Elf64_Phdr. */
function segment(type: number, flags: number, { offset, address, bytes }: Place): Buffer {
  const entry = Buffer.alloc(SEGMENT_BYTES);
  entry.writeUInt32LE(type, 0);
  entry.writeUInt32LE(flags, 4);
  const fields = [offset, address, address, bytes, bytes, PAGE_BYTES];
  fields.forEach((field, i) => entry.writeBigUInt64LE(BigInt(field), 8 + 8 * i));
  return entry;
}

/** Words of the filter: with the functions of a small library, it lets 1 of 100 other names through. */
const FILTER_WORDS = 8;
/** Bits of a hash that select the second bit in a word of the filter. */
const FILTER_SHIFT = 6;

const hashBytes = (count: number): number => 16 + 8 * FILTER_WORDS + 4 + 4 * count;

/**
 * Hash table (`DT_GNU_HASH`) with one bucket: a chain of all symbols. The loader looks up 12,000 names of QEMU and its libraries in each
 * library; the filter refuses nearly all at once. A table without one (`DT_HASH`) cost QEMU's start 4 ms.
 */
function hashTable(names: readonly string[]): Buffer {
  const hashes = names.map(hashOf);
  const filter = new BigUint64Array(FILTER_WORDS);
  for (const hash of hashes) {
    const word = (hash >>> 6) % FILTER_WORDS;
    filter[word] = (filter[word] ?? 0n) | bit(hash) | bit(hash >>> FILTER_SHIFT);
  }
  // one bucket, whose chain begins with symbol 1; the lowest bit marks the end of the chain
  const chain = hashes.map((hash, i) => (i === hashes.length - 1 ? hash | 1 : hash & ~1) >>> 0);
  return Buffer.concat([
    words([1, 1, FILTER_WORDS, FILTER_SHIFT]),
    Buffer.from(filter.buffer),
    words([names.length === 0 ? 0 : 1, ...chain]),
  ]);
}

/** Returns the bit in a word of the filter for a hash. */
function bit(hash: number): bigint {
  return 1n << BigInt(hash & 63);
}

/** Hash of a name in 32 bits (`dl_new_hash` of the C library). */
function hashOf(name: string): number {
  return Buffer.from(name, 'latin1').reduce((hash, byte) => (Math.imul(hash, 33) + byte) >>> 0, 5381);
}

function words(values: readonly number[]): Buffer {
  return Buffer.from(Uint32Array.from(values).buffer);
}

/** Elf64_Sym of each function (global, of section 1, which need not exist), after an empty one. */
function symbolTable(functions: readonly (readonly [name: number, address: number])[]): Buffer {
  const bytes = Buffer.alloc(SYMBOL_BYTES * (functions.length + 1));
  functions.forEach(([name, address], i) => {
    const at = SYMBOL_BYTES * (i + 1);
    bytes.writeUInt32LE(name, at);
    bytes.writeUInt8(0x12, at + 4);
    bytes.writeUInt16LE(1, at + 6);
    bytes.writeBigUInt64LE(BigInt(address), at + 8);
    bytes.writeBigUInt64LE(BigInt(CODE_BYTES), at + 16);
  });
  return bytes;
}

function dynamicSection(entries: readonly (readonly [tag: number, value: number])[]): Buffer {
  return Buffer.from(BigUint64Array.from(entries.flat().map(BigInt)).buffer);
}

/** Table of names, each of which ends with a zero byte. The first one is empty. */
function nameTable(names: readonly string[]): { bytes: Buffer; offsetOf: (name: string) => number } {
  const text = `\0${names.join('\0')}\0`;
  return { bytes: Buffer.from(text, 'latin1'), offsetOf: (name) => text.indexOf(`\0${name}\0`) + 1 };
}
