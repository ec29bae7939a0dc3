import { QemuError } from '../process/qemu-error.ts';
import type { Qemu } from '../process/qemu.ts';
import type { Qmp } from './connection.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/*
 * The state of all devices as QEMU's migration stream has it (docs/devel/migration/main in QEMU's documentation).
 *
 * QEMU can write this stream without the RAM, whatever the RAM is mapped from: that is what Xen's command does. What reads
 * it needs the contents of the memory that QEMU makes by itself as well (firmware, ACPI tables), which are left
 * empty for a machine that waits for a stream. So they are put in front, as a section such as QEMU writes.
 */

/** Contents of a piece of memory that QEMU makes by itself. */
export interface Rom {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Magic number and version. */
const HEADER_BYTES = 8;
const SECTION_START = 1;
const SECTION_END = 3;
const SECTION_FOOTER = 0x7e;
/** Version of the section that QEMU calls `ram`. */
const RAM_VERSION = 4;
/** No section of a stream of QEMU's has it: they count from 0. */
const RAM_SECTION = 0x7fff_0000;
/** What an entry is, in the low bits of its address. */
const FLAG = { sizes: 0x04, page: 0x08, end: 0x10 };

/** Writes the devices' state into a file, open for writing only; the machine must be paused. Without `live: false` disks would be let go. */
export async function writeDeviceState({ qmp }: Qemu, fd: number): Promise<void> {
  await withFile(qmp, fd, (filename) => qmp.execute('xen-save-devices-state', { filename, live: false }));
}

/** Lets QEMU open a file of ours, with the same access, by a name that is good meanwhile. */
async function withFile<T>(qmp: Qmp, fd: number, use: (name: string) => Promise<T>): Promise<T> {
  const set = { 'fdset-id': FDSET };
  await qmp.execute('add-fd', set, [fd]);
  try {
    return await use(`/dev/fdset/${FDSET}`);
  } finally {
    await qmp.execute('remove-fd', set).catch(() => undefined);
  }
}

/** Puts the memory that QEMU made by itself in front of the devices' state. */
export function withRoms(stream: Buffer, roms: readonly Rom[]): Buffer {
  return Buffer.concat([
    stream.subarray(0, HEADER_BYTES),
    ...romSection(roms),
    stream.subarray(HEADER_BYTES),
  ]);
}

function romSection(roms: readonly Rom[]): Buffer[] {
  const total = roms.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const footer = Buffer.concat([Buffer.from([SECTION_FOOTER]), u32(RAM_SECTION)]);
  return [
    Buffer.from([SECTION_START]),
    u32(RAM_SECTION),
    ...[text('ram'), u32(0), u32(RAM_VERSION)],
    u64(total + FLAG.sizes),
    ...roms.flatMap(({ name, bytes }) => [text(name), u64(bytes.length)]),
    ...[u64(FLAG.end), footer],
    ...[Buffer.from([SECTION_END]), u32(RAM_SECTION)],
    ...roms.flatMap(pagesOf),
    ...[u64(FLAG.end), footer],
  ];
}

function pagesOf({ name, bytes }: Rom): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
    parts.push(u64(at + FLAG.page), text(name), bytes.subarray(at, at + PAGE_BYTES));
  }
  return parts;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** A number that no descriptor has: those are the names of the sets that QEMU is started with. */
const FDSET = 1_000_000;

/** How often QEMU is asked whether it is done, in milliseconds: a load takes about ten. */
const ASK_MS = 1;

/**
 * Lets a machine that was started to wait for a state take one from a file, open for reading only.
 * Rejects with QemuError holding QEMU's words.
 */
export async function readDeviceState(qemu: Qemu, fd: number): Promise<void> {
  await withFile(qemu.qmp, fd, (name) => load(qemu, `file:${name}`));
}

async function load(qemu: Qemu, uri: string): Promise<void> {
  try {
    await qemu.qmp.execute('migrate-incoming', { uri });
    for (;;) {
      const { status, error } = await migrationStatus(qemu);
      if (status === 'completed') return;
      if (status === 'failed') throw new QemuError(error ?? 'the state could not be loaded');
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    }
  } catch (error) {
    if (error instanceof QemuError) throw error;
    // a QEMU that cannot load a state says why and ends
    await qemu.quit();
    throw new QemuError(`the state could not be loaded: ${(await qemu.ended).detail}`, undefined, {
      cause: error,
    });
  }
}

/** How far QEMU's sending or receiving is. */
export interface MigrationStatus {
  /** QEMU's MigrationStatus, e.g. `active`; `none` before there is one */
  readonly status: string;
  readonly error: string | undefined;
  /** what still has to be sent, in `bytes` */
  readonly remaining: number;
  /** all that there is to send, in `bytes` */
  readonly total: number;
}

/** Asks QEMU how far it is. */
export async function migrationStatus({ qmp }: Qemu): Promise<MigrationStatus> {
  const { status = 'none', 'error-desc': error, ram } = await qmp.execute('query-migrate');
  return { status, error, remaining: ram?.remaining ?? 0, total: ram?.total ?? 0 };
}
