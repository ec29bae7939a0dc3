import { read as readDescriptor } from 'node:fs';
import { promisify } from 'node:util';
import { readRange, type OpenedFile } from '../files/file-range.ts';

/*
 * The parts of an ELF file that define how a kernel is entered (elf(5), xen/include/public/elfnote.h).
 */

const MAGIC = '\x7fELF';
const PT_NOTE = 4;

/** Note with the address of the 32-bit entry point by which PVH starts a kernel. */
const PVH_ENTRY = { owner: 'Xen\0', type: 18 } as const;
/** Owner of notes that the build of every Linux since 4.19 adds; Linux knows PVH without Xen since 5.0. */
const LINUX_OWNER = 'Linux\0';

/** Values of `e_machine` that run on an x86-64 processor. EDK2's CLOUDHV.fd is a 64-bit ELF for the 80386. */
const X86_MACHINES: ReadonlySet<number> = new Set([3, 62]);
const OTHER_MACHINES: ReadonlyMap<number, string> = new Map([
  [21, 'PowerPC'],
  [22, 's390x'],
  [40, 'ARM'],
  [183, 'AArch64'],
  [243, 'RISC-V'],
  [258, 'LoongArch'],
]);

/** Offsets of the members of one ELF class, in `bytes`. */
interface Layout {
  readonly headerBytes: number;
  readonly tableAt: number;
  readonly entrySizeAt: number;
  readonly countAt: number;
  readonly entryBytes: number;
  readonly offsetAt: number;
  readonly sizeAt: number;
  readonly read: (bytes: Buffer, at: number) => number;
}

const CLASSES: ReadonlyMap<number, Layout> = new Map([
  [
    1,
    {
      headerBytes: 52,
      tableAt: 28,
      entrySizeAt: 42,
      countAt: 44,
      entryBytes: 32,
      offsetAt: 4,
      sizeAt: 16,
      read: (bytes, at) => bytes.readUInt32LE(at),
    },
  ],
  [
    2,
    {
      headerBytes: 64,
      tableAt: 32,
      entrySizeAt: 54,
      countAt: 56,
      entryBytes: 56,
      offsetAt: 8,
      sizeAt: 32,
      read: (bytes, at) => Number(bytes.readBigUInt64LE(at)),
    },
  ],
]);

interface Note {
  readonly owner: string;
  readonly type: number;
  /** the value as a number, where it has four or eight bytes */
  readonly value: number | undefined;
}

/** Returns whether bytes begin as an ELF file does. */
export function isElf(head: Buffer): boolean {
  return head.toString('latin1', 0, 4) === MAGIC;
}

/** PVH entry of an ELF kernel, and whether the kernel is Linux. */
export interface PvhKernel {
  readonly isLinux: boolean;
  /** guest address of the first instruction; undefined: the note has a value of another length */
  readonly entry: number | undefined;
}

const readFrom = promisify(readDescriptor);

/** Reads a range of an ELF file; shorter where the file ends before it. */
export type ReadAt = (offset: number, length: number) => Promise<Buffer>;

/** Creates a reader of an open file. */
export function readerOf(opened: OpenedFile): ReadAt {
  return (offset, length) => readRange({ ...opened, offset, length });
}

/** Creates a reader of a descriptor. */
export function readerOfDescriptor(fd: number): ReadAt {
  return async (offset, length) => {
    const { buffer, bytesRead } = await readFrom(fd, Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  };
}

/**
 * Reads the notes of an ELF kernel, and no other part.
 * @throws with the reason where PVH cannot enter it
 */
export async function readPvhKernel(readAt: ReadAt): Promise<PvhKernel> {
  const header = await readAt(0, MAX_HEADER_BYTES);
  const layout = CLASSES.get(header[4] ?? 0);
  if (layout === undefined || header.length < layout.headerBytes) throw new Error('is a truncated ELF file');
  checkMachine(header);
  const notes = await notesOf(header, layout, readAt);
  const note = notes.find(({ owner, type }) => owner === PVH_ENTRY.owner && type === PVH_ENTRY.type);
  if (note === undefined) {
    const bits = layout.headerBytes === 52 ? 'a 32-bit' : 'an';
    throw new Error(`is ${bits} ELF without a PVH note and cannot be entered: Linux needs CONFIG_PVH=y`);
  }
  return { isLinux: notes.some(({ owner }) => owner === LINUX_OWNER), entry: note.value };
}

/** Returns whether PVH can enter an ELF. */
export async function hasPvhNote(read: ReadAt): Promise<boolean> {
  try {
    return isElf(await read(0, MAGIC.length)) && (await readPvhKernel(read)) !== undefined;
  } catch {
    return false;
  }
}

function checkMachine(elf: Buffer): void {
  const isBigEndian = elf[5] === 2;
  const machine = isBigEndian ? elf.readUInt16BE(18) : elf.readUInt16LE(18);
  if (!isBigEndian && X86_MACHINES.has(machine)) return;
  const name = OTHER_MACHINES.get(machine) ?? `machine ${machine}`;
  throw new Error(`is an ELF for ${name}: the VM's processor is x86-64`);
}

/** Size of the larger header. */
const MAX_HEADER_BYTES = 64;
/** A kernel has a dozen segments, and a few hundred bytes of notes: more is damage, or an attempt to make the VMM slow. */
const MAX_SEGMENTS = 256;
const MAX_NOTE_BYTES = 65_536;
const MAX_NOTES = 1000;

async function notesOf(header: Buffer, layout: Layout, read: ReadAt): Promise<Note[]> {
  const entryBytes = header.readUInt16LE(layout.entrySizeAt);
  const count = Math.min(header.readUInt16LE(layout.countAt), MAX_SEGMENTS);
  const table = await readWithin(read, layout.read(header, layout.tableAt), entryBytes * count);
  const notes: Note[] = [];
  for (let at = 0; at + layout.entryBytes <= table.length; at += Math.max(entryBytes, 1)) {
    if (table.readUInt32LE(at) !== PT_NOTE) continue;
    const length = Math.min(layout.read(table, at + layout.sizeAt), MAX_NOTE_BYTES);
    notes.push(...parseNotes(await readWithin(read, layout.read(table, at + layout.offsetAt), length)));
    if (notes.length > MAX_NOTES) break;
  }
  return notes;
}

/** Reads no bytes at an offset that no file has. */
async function readWithin(read: ReadAt, offset: number, length: number): Promise<Buffer> {
  return Number.isSafeInteger(offset) ? read(offset, length) : Buffer.alloc(0);
}

function parseNotes(segment: Buffer): Note[] {
  const notes: Note[] = [];
  for (let at = 0; at + 12 <= segment.length && notes.length < MAX_NOTES;) {
    const ownerBytes = segment.readUInt32LE(at);
    const valueBytes = segment.readUInt32LE(at + 4);
    const owner = segment.toString('latin1', at + 12, at + 12 + Math.min(ownerBytes, 16));
    const valueAt = at + 12 + align4(ownerBytes);
    const value = valueOf(segment.subarray(valueAt, valueAt + valueBytes));
    notes.push({ owner, type: segment.readUInt32LE(at + 8), value });
    at = valueAt + align4(valueBytes);
  }
  return notes;
}

function valueOf(bytes: Buffer): number | undefined {
  if (bytes.length === 4) return bytes.readUInt32LE();
  return bytes.length === 8 ? Number(bytes.readBigUInt64LE()) : undefined;
}

function align4(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
