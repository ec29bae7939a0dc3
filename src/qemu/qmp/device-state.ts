import { FDSET } from '../process/descriptors.ts';
import { QemuError } from '../process/qemu-error.ts';
import type { Qemu } from '../process/qemu.ts';
import type { Qmp } from './connection.ts';
import { inBackground } from '../../util/background.ts';
import { reasonOf } from '../../util/errno.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/*
 * State of all devices, in the format of QEMU's migration stream (docs/devel/migration/main in QEMU's documentation).
 *
 * Xen's command writes this stream without the RAM, whatever backs the RAM. The QEMU that reads it also needs the contents of
 * QEMU's own memory blocks (firmware, ACPI tables), which are empty in a machine that was started for an incoming migration. They
 * are inserted before the devices, as a section of RAM.
 */

/** Contents of one of QEMU's own memory blocks. */
export interface Rom {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Magic number and version. */
const HEADER_BYTES = 8;
const SECTION_START = 1;
const SECTION_END = 3;
const SECTION_FOOTER = 0x7e;
/** Version of QEMU's section `ram`. */
const RAM_VERSION = 4;
/** Number of the section; QEMU's own sections count from 0. */
const RAM_SECTION = 0x7fff_0000;
/** Kind of an entry, in the low bits of its address. */
const FLAG = { sizes: 0x04, page: 0x08, end: 0x10 };

/** Writes the devices' state into a file that is open for writing only; the machine must be paused. `live: false` keeps disks active. */
export async function writeDeviceState({ qmp }: Qemu, fd: number): Promise<void> {
  await withFile(qmp, fd, (filename) => qmp.execute('xen-save-devices-state', { filename, live: false }));
}

/** Lets QEMU open a file of the VMM, with the same access, by a path that is valid during `use`. */
async function withFile<T>(qmp: Qmp, fd: number, use: (name: string) => Promise<T>): Promise<T> {
  await using file = await passFile(qmp, fd);
  return await use(file.name);
}

/** A file of the VMM that QEMU can open by a name until the disposal, which never rejects. */
export interface PassedFile extends AsyncDisposable {
  readonly name: string;
}

/** Passes an open file to QEMU, which has the same access to it. Rejects with QmpError. There is one at a time with an id. */
export async function passFile(
  qmp: Pick<Qmp, 'execute'>,
  fd: number,
  setId: number = FDSET,
): Promise<PassedFile> {
  const set = { 'fdset-id': setId };
  await qmp.execute('add-fd', set, [fd]);
  return {
    name: `/dev/fdset/${setId}`,
    [Symbol.asyncDispose]: async () => {
      await qmp.execute('remove-fd', set).catch(() => undefined);
    },
  };
}

/** Puts QEMU's own memory blocks in front of the devices' state. */
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

/** Interval of the polls for the end of a load, in milliseconds: a load takes about ten. */
const POLL_MS = 1;

/**
 * Loads the state from the file that QEMU has inherited (`stateFile` of its plan). QEMU was started for an incoming migration.
 * Rejects with QemuError with QEMU's reason.
 */
export async function loadInheritedState(qemu: Qemu): Promise<void> {
  await loadDeviceState(qemu, `file:/dev/fdset/${FDSET}`);
  // not awaited: QEMU executes commands in order, and the guest can run before
  qemu.qmp.execute('remove-fd', { 'fdset-id': FDSET }).catch(() => undefined);
}

/** Loads a state from a migration URI. Rejects with QemuError with QEMU's reason. */
export async function loadDeviceState(qemu: Qemu, uri: string): Promise<void> {
  try {
    await qemu.qmp.execute('migrate-incoming', { uri });
    for (;;) {
      const { status, error } = await migrationStatus(qemu);
      if (status === 'completed') return;
      if (status === 'failed') throw new QemuError(error ?? 'the state could not be loaded');
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } catch (error) {
    if (error instanceof QemuError) throw error;
    // QEMU writes the reason to standard error and exits
    await qemu.quit();
    throw new QemuError(`the state could not be loaded: ${(await qemu.ended).detail}`, undefined, {
      cause: error,
    });
  }
}

/** Lets QEMU report the end of a load by an event, for {@link loadReported}. */
export async function reportLoads({ qmp }: Qemu): Promise<void> {
  await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
}

/** Loads a state as {@link loadDeviceState} does, with one command, after {@link reportLoads}. */
export async function loadReported(qemu: Qemu, uri: string): Promise<void> {
  let stop = (): void => undefined;
  const ended = new Promise<string>((resolve) => {
    stop = qemu.onEvent((message) => {
      if (message.event !== 'MIGRATION') return;
      const { status } = message.data;
      if (status === 'completed' || status === 'failed') resolve(status);
    });
    inBackground(
      'exit of QEMU',
      qemu.ended.then(() => resolve('failed')),
    );
  });
  try {
    await qemu.qmp.execute('migrate-incoming', { uri });
    if ((await ended) === 'completed') return;
    throw new QemuError((await migrationStatus(qemu).catch(() => undefined))?.error ?? 'QEMU has ended');
  } catch (error) {
    throw new QemuError(`the state could not be loaded: ${reasonOf(error)}`, undefined, { cause: error });
  } finally {
    stop();
  }
}

/** Progress of a migration. */
export interface MigrationStatus {
  /** QEMU's MigrationStatus, e.g. `active`; `none` before the first migration */
  readonly status: string;
  readonly error: string | undefined;
  /** RAM that is still to be sent, in `bytes` */
  readonly remaining: number;
  /** RAM in all, in `bytes` */
  readonly total: number;
}

/** Returns the progress of QEMU's migration. */
export async function migrationStatus({ qmp }: Qemu): Promise<MigrationStatus> {
  const { status = 'none', 'error-desc': error, ram } = await qmp.execute('query-migrate');
  return { status, error, remaining: ram?.remaining ?? 0, total: ram?.total ?? 0 };
}
