import { readFileSync, writeFileSync } from 'node:fs';

const PT_LOAD = 1;
const PT_NOTE = 4;
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

/** Byte that the marked kernel first writes to COM1. */
export const ENTRY_MARK = '!';

/** 32-bit code for the PVH entry: mov dx, 0x3f8; mov al, '!'; out dx, al; hlt; jmp back to hlt. */
const CODE = Buffer.from([0x66, 0xba, 0xf8, 0x03, 0xb0, ENTRY_MARK.charCodeAt(0), 0xee, 0xf4, 0xeb, 0xfd]);

/** Writes the code to the PVH entry of an ELF kernel. The size stays the same, and so does the time to load it. */
export function markEntry(path: string): void {
  const elf = readFileSync(path);
  const entry = findEntry(elf);
  const segment = segments(elf).find(
    ({ type, physical, bytes }) => type === PT_LOAD && entry >= physical && entry < physical + bytes,
  );
  if (segment === undefined) throw new Error(`${path}: its PVH entry is in no segment`);
  CODE.copy(elf, segment.offset + entry - segment.physical);
  writeFileSync(path, elf);
}

function findEntry(elf: Buffer): number {
  for (const { offset, bytes } of segments(elf).filter(({ type }) => type === PT_NOTE)) {
    for (let at = offset; at < offset + bytes;) {
      const [name, value, type] = [elf.readUInt32LE(at), elf.readUInt32LE(at + 4), elf.readUInt32LE(at + 8)];
      const start = at + 12 + Math.ceil(name / 4) * 4;
      if (type === XEN_ELFNOTE_PHYS32_ENTRY) return elf.readUInt32LE(start);
      at = start + Math.ceil(value / 4) * 4;
    }
  }
  throw new Error('the kernel has no PVH note');
}

function segments(elf: Buffer) {
  const table = Number(elf.readBigUInt64LE(32));
  return Array.from({ length: elf.readUInt16LE(56) }, (_, i) => {
    const at = table + i * elf.readUInt16LE(54);
    return {
      type: elf.readUInt32LE(at),
      offset: Number(elf.readBigUInt64LE(at + 8)),
      physical: Number(elf.readBigUInt64LE(at + 24)),
      bytes: Number(elf.readBigUInt64LE(at + 32)),
    };
  });
}
