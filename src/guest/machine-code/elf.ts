import { compile, START, type CodePart } from './compile.ts';
import type { ProgramFunction } from './program.ts';

/*
 * Static ELF executables (System V ABI, "Object files" and "Program loading") with two segments: header, code and constants, read and
 * execute; and memory of zeros, read and write.
 */

/** Address of the file's first byte in memory. */
const BASE = 0x40_0000;
/** Address of the memory of zeros; far above the code. */
const SPACE_BASE = 0x80_0000;
const ELF_HEADER = 64;
const PROGRAM_HEADER = 56;
const SEGMENTS = 3;
const CODE_AT = ELF_HEADER + SEGMENTS * PROGRAM_HEADER;
const PAGE = 0x1000;
const [PT_LOAD, PT_GNU_STACK] = [1, 0x6474_e551];
const [READ_EXECUTE, READ_WRITE] = [5, 6];
const ALIGN = 16;

/** Compiles a program to a static executable for x86-64. Its function `main` gets the address of the initial stack: the number of arguments, their addresses, 0, those of the variables, 0. */
export function executable(functions: readonly ProgramFunction[]): Buffer {
  const parts = [...START, ...compile(functions)];
  const labels = labelsOf(parts);
  const codeEnd = CODE_AT + parts.reduce((length, part) => length + lengthOf(part), 0);
  const data = placeData(parts, BASE + codeEnd);
  const code = encode(parts, labels, data.addresses);
  const image = Buffer.concat([code, data.constants]);
  return Buffer.concat([
    elfHeader(),
    programHeader(PT_LOAD, READ_EXECUTE, { at: 0, address: BASE, inFile: CODE_AT + image.length }),
    programHeader(PT_LOAD, READ_WRITE, { at: 0, address: SPACE_BASE, inFile: 0, inMemory: data.space }),
    programHeader(PT_GNU_STACK, READ_WRITE, { at: 0, address: 0, inFile: 0 }),
    image,
  ]);
}

function labelsOf(parts: readonly CodePart[]): Map<string, number> {
  const labels = new Map<string, number>();
  let at = 0;
  for (const part of parts) {
    if ('label' in part) labels.set(part.label, at);
    at += lengthOf(part);
  }
  return labels;
}

function lengthOf(part: CodePart): number {
  if ('label' in part) return 0;
  return 'relative' in part || 'data' in part ? 4 : part.length;
}

interface Data {
  /** addresses by a key of the data */
  readonly addresses: ReadonlyMap<string, number>;
  readonly constants: Buffer;
  /** size of the memory of zeros, in bytes */
  readonly space: number;
}

type DataPart = Extract<CodePart, { data: unknown }>['data'];

function placeData(parts: readonly CodePart[], address: number): Data {
  const addresses = new Map<string, number>();
  const constants: Buffer[] = [];
  let length = 0;
  let spaceLength = 0;
  for (const part of parts) {
    if (!('data' in part) || addresses.has(keyOf(part.data))) continue;
    if (part.data.kind === 'space') {
      addresses.set(keyOf(part.data), SPACE_BASE + spaceLength);
      spaceLength += Math.ceil(part.data.size / ALIGN) * ALIGN;
      continue;
    }
    const bytes =
      part.data.kind === 'text' ? Buffer.from(`${part.data.text}\0`) : Buffer.from(part.data.bytes);
    addresses.set(keyOf(part.data), address + length);
    constants.push(bytes);
    length += bytes.length;
  }
  return { addresses, constants: Buffer.concat(constants), space: spaceLength };
}

function keyOf(data: DataPart): string {
  return JSON.stringify(data);
}

function encode(
  parts: readonly CodePart[],
  labels: ReadonlyMap<string, number>,
  addresses: ReadonlyMap<string, number>,
): Buffer {
  let end = 0;
  return Buffer.concat(
    parts.map((part) => {
      end += lengthOf(part);
      if ('label' in part) return Buffer.alloc(0);
      if ('relative' in part) return dword(found(labels, part.relative) - end);
      if ('data' in part) return dword(found(addresses, keyOf(part.data)));
      return Buffer.from(part);
    }),
  );
}

function found(map: ReadonlyMap<string, number>, name: string): number {
  const value = map.get(name);
  if (value === undefined) throw new Error(`no function ${name}`);
  return value;
}

function dword(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function elfHeader(): Buffer {
  const header = Buffer.alloc(ELF_HEADER);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // 64 bits, little-endian
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(62, 18); // EM_X86_64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(BASE + CODE_AT), 24);
  header.writeBigUInt64LE(BigInt(ELF_HEADER), 32);
  header.writeUInt16LE(ELF_HEADER, 52);
  header.writeUInt16LE(PROGRAM_HEADER, 54);
  header.writeUInt16LE(SEGMENTS, 56);
  header.writeUInt16LE(64, 58); // size of a section header; there are none
  return header;
}

interface Segment {
  readonly at: number;
  readonly address: number;
  readonly inFile: number;
  readonly inMemory?: number;
}

function programHeader(
  type: number,
  flags: number,
  { at, address, inFile, inMemory = inFile }: Segment,
): Buffer {
  const header = Buffer.alloc(PROGRAM_HEADER);
  header.writeUInt32LE(type, 0);
  header.writeUInt32LE(flags, 4);
  const words = [at, address, address, inFile, inMemory, type === PT_LOAD ? PAGE : ALIGN];
  for (const [index, word] of words.entries()) header.writeBigUInt64LE(BigInt(word), 8 + 8 * index);
  return header;
}
