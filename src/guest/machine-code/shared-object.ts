/*
 * Shared objects for LD_PRELOAD (System V ABI, "Dynamic Linking"): functions in machine code that replace those of the C library. Two
 * segments: code and names, read and execute; the dynamic section, which the dynamic linker changes, read and write.
 */

const ELF_HEADER = 64;
const PROGRAM_HEADER = 56;
const SEGMENTS = 4;
const SYMBOL = 24;
const PAGE = 0x1000;
const [PT_LOAD, PT_DYNAMIC, PT_GNU_STACK] = [1, 2, 0x6474_e551];
const [READ_EXECUTE, READ_WRITE] = [5, 6];
/** tags of the dynamic section */
const [DT_NULL, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT] = [0, 4, 5, 6, 10, 11];
/** global function */
const GLOBAL_FUNCTION = 0x12;

/** Links functions, by their names, to a shared object for x86-64. Their code must not depend on its address. */
export function sharedObject(functions: ReadonlyMap<string, Buffer>): Buffer {
  const names = namesOf(functions);
  const codeAt = ELF_HEADER + SEGMENTS * PROGRAM_HEADER;
  const code = Buffer.concat([...functions.values()]);
  const symbolsAt = align(codeAt + code.length);
  const symbols = symbolTable(functions, codeAt, names.at);
  const hashAt = align(symbolsAt + symbols.length);
  const hash = hashTable(functions.size);
  const namesAt = align(hashAt + hash.length);
  const dynamicAt = align(namesAt + names.bytes.length);
  const dynamic = words([
    ...[DT_HASH, hashAt, DT_STRTAB, namesAt, DT_SYMTAB, symbolsAt],
    ...[DT_STRSZ, names.bytes.length, DT_SYMENT, SYMBOL, DT_NULL, 0],
  ]);
  const file = Buffer.alloc(dynamicAt + dynamic.length);
  elfHeader().copy(file);
  const data = { at: dynamicAt, address: dynamicAt + PAGE, size: dynamic.length };
  const headers = [
    programHeader(PT_LOAD, READ_EXECUTE, { at: 0, address: 0, size: dynamicAt }),
    programHeader(PT_LOAD, READ_WRITE, data),
    programHeader(PT_DYNAMIC, READ_WRITE, data),
    programHeader(PT_GNU_STACK, READ_WRITE, { at: 0, address: 0, size: 0 }),
  ];
  Buffer.concat(headers).copy(file, ELF_HEADER);
  code.copy(file, codeAt);
  symbols.copy(file, symbolsAt);
  hash.copy(file, hashAt);
  names.bytes.copy(file, namesAt);
  dynamic.copy(file, dynamicAt);
  return file;
}

function align(at: number): number {
  return Math.ceil(at / 16) * 16;
}

function namesOf(functions: ReadonlyMap<string, Buffer>): { bytes: Buffer; at: number[] } {
  const at: number[] = [];
  let bytes = Buffer.from([0]);
  for (const name of functions.keys()) {
    at.push(bytes.length);
    bytes = Buffer.concat([bytes, Buffer.from(`${name}\0`)]);
  }
  return { bytes, at };
}

function symbolTable(
  functions: ReadonlyMap<string, Buffer>,
  codeAt: number,
  names: readonly number[],
): Buffer {
  const table = Buffer.alloc(SYMBOL * (functions.size + 1));
  let address = codeAt;
  for (const [index, code] of [...functions.values()].entries()) {
    const at = SYMBOL * (index + 1);
    table.writeUInt32LE(names[index] ?? 0, at);
    table.writeUInt8(GLOBAL_FUNCTION, at + 4);
    table.writeUInt16LE(1, at + 6); // any section but 0, which is that of undefined symbols
    table.writeBigUInt64LE(BigInt(address), at + 8);
    table.writeBigUInt64LE(BigInt(code.length), at + 16);
    address += code.length;
  }
  return table;
}

/** One bucket with the chain of all symbols. */
function hashTable(count: number): Buffer {
  const chain = Array.from({ length: count + 1 }, (_, index) =>
    index === 0 || index === count ? 0 : index + 1,
  );
  const numbers = [1, count + 1, count === 0 ? 0 : 1, ...chain];
  const table = Buffer.alloc(numbers.length * 4);
  for (const [index, number] of numbers.entries()) table.writeUInt32LE(number, index * 4);
  return table;
}

function words(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8);
  for (const [index, value] of values.entries()) bytes.writeBigUInt64LE(BigInt(value), index * 8);
  return bytes;
}

function elfHeader(): Buffer {
  const header = Buffer.alloc(ELF_HEADER);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // 64 bits, little-endian
  header.writeUInt16LE(3, 16); // ET_DYN
  header.writeUInt16LE(62, 18); // EM_X86_64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(ELF_HEADER), 32);
  header.writeUInt16LE(ELF_HEADER, 52);
  header.writeUInt16LE(PROGRAM_HEADER, 54);
  header.writeUInt16LE(SEGMENTS, 56);
  header.writeUInt16LE(64, 58);
  return header;
}

function programHeader(
  type: number,
  flags: number,
  { at, address, size }: { at: number; address: number; size: number },
): Buffer {
  const header = Buffer.alloc(PROGRAM_HEADER);
  header.writeUInt32LE(type, 0);
  header.writeUInt32LE(flags, 4);
  words([at, address, address, size, size, type === PT_LOAD ? PAGE : 8]).copy(header, 8);
  return header;
}
