/*
 * A kernel that is no Linux, as PVH starts one: in 32-bit protected mode with flat segments, without paging
 * (xen/include/public/arch-x86/hvm/start_info.h). Encodings are those of Intel's manual, volume 2.
 */

/** Address of the program and its texts in guest memory. */
const BASE = 0x10_0000;

/** The kernel writes one of these to COM1, and does so again for each byte that it receives there. */
export const BARS_ASSIGNED = '<BARs assigned>';
export const BARS_MISSING = '<BARs missing>';

interface Options {
  /** a 64-bit ELF, as Linux has it, or a 32-bit one */
  readonly bits?: 32 | 64;
  /** `e_machine`: 62 is x86-64, 3 the 80386 (as in EDK2's CLOUDHV.fd), 183 AArch64 */
  readonly machine?: number;
  /** it has the note with the address at which PVH enters it */
  readonly note?: boolean;
  /** size of the file in `bytes`, filled up with zeros */
  readonly size?: number;
}

/** The kernel as an ELF file of one segment, which holds everything. */
export function pvhKernel(options: Options = {}): Buffer {
  const { bits = 64, size } = options;
  const headers = bits === 64 ? 64 + 2 * 56 : 52 + 2 * 32;
  const noteAt = headers;
  const codeAt = noteAt + NOTE_BYTES;
  const code = program(BASE + codeAt);
  const file = Buffer.alloc(Math.max(size ?? 0, codeAt + code.length));
  code.copy(file, codeAt);
  note(BASE + codeAt, options.note ?? true).copy(file, noteAt);
  const entry = BASE + codeAt;
  if (bits === 64) writeHeaders64(file, { entry, noteAt, machine: options.machine ?? 62 });
  else writeHeaders32(file, { entry, noteAt, machine: options.machine ?? 3 });
  return file;
}

const NOTE_BYTES = 20;

/** XEN_ELFNOTE_PHYS32_ENTRY with the address of the entry point; another type where there is to be none. */
function note(entry: number, isPvh: boolean): Buffer {
  const bytes = Buffer.alloc(NOTE_BYTES);
  bytes.writeUInt32LE(4, 0);
  bytes.writeUInt32LE(4, 4);
  bytes.writeUInt32LE(isPvh ? 18 : 1, 8);
  bytes.write('Xen\0', 12, 'latin1');
  bytes.writeUInt32LE(entry, 16);
  return bytes;
}

interface Headers {
  readonly entry: number;
  readonly noteAt: number;
  readonly machine: number;
}

/** ET_EXEC, little endian, version 1 (elf(5)). */
function writeIdentity(file: Buffer, bits: 32 | 64, machine: number): void {
  file.write('\x7fELF', 0, 'latin1');
  file.set([bits === 64 ? 2 : 1, 1, 1], 4);
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(machine, 18);
  file.writeUInt32LE(1, 20);
}

function writeHeaders64(file: Buffer, { entry, noteAt, machine }: Headers): void {
  writeIdentity(file, 64, machine);
  file.writeBigUInt64LE(BigInt(entry), 24);
  file.writeBigUInt64LE(64n, 32);
  // sizes of the header and of an entry of the table of segments, and their number
  for (const [i, value] of [64, 56, 2].entries()) file.writeUInt16LE(value, 52 + 2 * i);
  const segment = (at: number, type: number, offset: number, bytes: number): void => {
    file.writeUInt32LE(type, at);
    file.writeUInt32LE(7, at + 4);
    const values = [offset, BASE + offset, BASE + offset, bytes, bytes, 4];
    for (const [i, value] of values.entries()) file.writeBigUInt64LE(BigInt(value), at + 8 + 8 * i);
  };
  segment(64, 1, 0, file.length);
  segment(64 + 56, 4, noteAt, NOTE_BYTES);
}

function writeHeaders32(file: Buffer, { entry, noteAt, machine }: Headers): void {
  writeIdentity(file, 32, machine);
  file.writeUInt32LE(entry, 24);
  file.writeUInt32LE(52, 28);
  for (const [i, value] of [52, 32, 2].entries()) file.writeUInt16LE(value, 40 + 2 * i);
  const segment = (at: number, type: number, offset: number, bytes: number): void => {
    const values = [type, offset, BASE + offset, BASE + offset, bytes, bytes, 7, 4];
    for (const [i, value] of values.entries()) file.writeUInt32LE(value, at + 4 * i);
  };
  segment(52, 1, 0, file.length);
  segment(52 + 32, 4, noteAt, NOTE_BYTES);
}

const u32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** PCI configuration addresses of slot 2 of bus 0, the first device: its BARs 1 and 4, which every virtio device has. */
const [BAR1, BAR4] = [0x8000_1014, 0x8000_1020];

/** Reads a register of the configuration space and leaves the address in it in EAX; the flags say whether it is 0. */
const readBar = (address: number): number[] => [
  ...[0xb8, ...u32(address)], //    mov eax, address
  ...[0x66, 0xba, 0xf8, 0x0c], //   mov dx, 0xcf8
  ...[0xef], //                     out dx, eax
  ...[0x66, 0xba, 0xfc, 0x0c], //   mov dx, 0xcfc
  ...[0xed, 0x83, 0xe0, 0xf0], //   in eax, dx; and eax, -16
];

/** Checks the BARs and writes the result; does so again for each byte that COM1 receives. */
function program(at: number): Buffer {
  const check = (missing: number, assigned: number): number[] => {
    const registers = [
      ...[0x0f, 0xb7, 0x40, 0x12], //   movzx eax, word [eax + 0x12]: number of queues
      ...[0x66, 0x40], //               inc ax: 0 where nothing answers at the address
    ];
    const second = [...readBar(BAR4), 0x74, registers.length + 7, ...registers, 0x74, 5];
    return [
      ...[0xbe, ...u32(missing)], //    mov esi, missing
      ...readBar(BAR1),
      ...[0x74, second.length + 5], //  jz write
      ...second, //                     jz write, twice
      ...[0xbe, ...u32(assigned)], //   mov esi, assigned
    ];
  };
  const write = [
    ...[0xac, 0x84, 0xc0], //           next: lodsb; test al, al
    ...[0x74, 0x14], //                 jz idle
    ...[0x88, 0xc4], //                 mov ah, al
    ...[0x66, 0xba, 0xfd, 0x03], //     mov dx, 0x3fd: line status
    ...[0xec, 0xa8, 0x20, 0x74, 0xfb], // wait: in al, dx; test al, 0x20; jz wait
    ...[0x88, 0xe0], //                 mov al, ah
    ...[0x66, 0xba, 0xf8, 0x03], //     mov dx, 0x3f8: data
    ...[0xee, 0xeb, 0xe7], //           out dx, al; jmp next
  ];
  const idle = [
    ...[0x66, 0xba, 0xfd, 0x03], //     mov dx, 0x3fd
    ...[0xf3, 0x90], //                 idle: pause
    ...[0xec, 0xa8, 0x01, 0x74, 0xf9], // in al, dx; test al, 1; jz idle
    ...[0x66, 0xba, 0xf8, 0x03, 0xec], // mov dx, 0x3f8; in al, dx
  ];
  const length = check(0, 0).length + write.length + idle.length + 6;
  const [missing, assigned] = [at + length, at + length + BARS_MISSING.length + 1];
  const code = [...[0xfc], ...check(missing, assigned), ...write, ...idle];
  return Buffer.concat([
    // jmp to the check
    Buffer.from([...code, 0xe9, ...u32(-(code.length + 4))]),
    Buffer.from(`${BARS_MISSING}\0${BARS_ASSIGNED}\0`, 'latin1'),
  ]);
}
