/*
 * A fix of dropbear (all versions up to 2025.88): a session channel without a command may be closed when the command of another channel
 * exits (`sesscheckclose` returns true for it). The command that is then requested fails dropbear's assertion `!channel->sent_close`,
 * which ends the connection with all its commands. The fixed function returns false until a command has exited.
 *
 * The function is found by the table of its channel type: pointers to the text `session`, and to five functions.
 */

/** Fields of the ELF header, of program headers, and tags of the dynamic section (System V ABI) */
const [PHOFF, PHNUM, PROGRAM_HEADER] = [32, 56, 56];
const [PT_LOAD, PT_DYNAMIC] = [1, 2];
const [DT_RELA, DT_RELASZ, RELA] = [7, 8, 24];
const R_X86_64_RELATIVE = 8n;

/** Position of `sesscheckclose` in the table, in pointers. */
const CHECK_CLOSE = 2;
const FUNCTION_BYTES = 64;

/** `sete al`: the channel has no command; `xor eax, eax; nop` */
const [HAS_NO_COMMAND, NEVER] = [Buffer.from([0x0f, 0x94, 0xc0]), Buffer.from([0x31, 0xc0, 0x90])];

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

/** Returns dropbear with the fix; unchanged if the function is not found. */
export function fixSessionClose(program: Buffer): Buffer {
  const segments = segmentsOf(program);
  const pointers = pointersOf(program, segments);
  const name = addressOf(segments, program.indexOf('\0session\0') + 1);
  for (const [place, target] of pointers) {
    if (target !== name) continue;
    const code = offsetOf(segments, pointers.get(place + 8 * CHECK_CLOSE) ?? 0);
    const at =
      code === undefined ? -1 : program.subarray(code, code + FUNCTION_BYTES).indexOf(HAS_NO_COMMAND);
    if (code === undefined || at < 0) continue;
    const fixed = Buffer.from(program);
    NEVER.copy(fixed, code + at);
    return fixed;
  }
  return program;
}

function segmentsOf(program: Buffer): Segment[] {
  const start = Number(program.readBigUInt64LE(PHOFF));
  return Array.from({ length: program.readUInt16LE(PHNUM) }, (_, index) => {
    const at = start + index * PROGRAM_HEADER;
    const word = (field: number): number => Number(program.readBigUInt64LE(at + field));
    return { type: program.readUInt32LE(at), offset: word(8), address: word(16), size: word(32) };
  });
}

function offsetOf(segments: readonly Segment[], address: number): number | undefined {
  const found = segments.find(
    (one) => one.type === PT_LOAD && address >= one.address && address < one.address + one.size,
  );
  return found && address - found.address + found.offset;
}

function addressOf(segments: readonly Segment[], offset: number): number | undefined {
  const found = segments.find(
    (one) => one.type === PT_LOAD && offset >= one.offset && offset < one.offset + one.size,
  );
  return found && offset - found.offset + found.address;
}

/** Returns the pointers that the dynamic linker relocates: the address of each, and its target. */
function pointersOf(program: Buffer, segments: readonly Segment[]): Map<number, number> {
  const pointers = new Map<number, number>();
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic === undefined) return pointers;
  const tags = new Map<number, number>();
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    tags.set(Number(program.readBigUInt64LE(at)), Number(program.readBigUInt64LE(at + 8)));
  }
  const start = offsetOf(segments, tags.get(DT_RELA) ?? 0);
  if (start === undefined) return pointers;
  for (let at = start; at < start + (tags.get(DT_RELASZ) ?? 0); at += RELA) {
    if (program.readBigUInt64LE(at + 8) !== R_X86_64_RELATIVE) continue;
    pointers.set(Number(program.readBigUInt64LE(at)), Number(program.readBigInt64LE(at + 16)));
  }
  return pointers;
}
