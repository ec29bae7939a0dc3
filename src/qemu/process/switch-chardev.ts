import { constants } from 'node:fs';
import { stat, type FileHandle } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import {
  channelInsteadOf,
  RING_BYTES,
  type FileBackend,
  type OwnBackend,
} from '../../devices/common/step.ts';
import { openFile, OUTPUT_KINDS } from '../../util/open-file.ts';
import { beforeDeadline } from '../../util/path-deadline.ts';
import type { ChardevBackendArgs } from '../qmp/commands/chardev.ts';
import type { Qmp } from '../qmp/connection.ts';
import type { BlockingChannels } from './blocking-channels.ts';
import { descriptorOf, type Descriptor } from './descriptors.ts';
import { writeTo } from './output-files.ts';

/*
 * Replaces QEMU's own back-end of a serial port by a channel to the VMM while the machine runs. The vCPUs are stopped meanwhile, so that
 * the output before the change is complete, and each byte is either in it or on the channel. A virtio console cannot be changed: QEMU
 * removes its handlers while the vCPUs are stopped, and answers `Chardev user does not support chardev hotswap`.
 */

/** Output of a chardev before it got a channel. */
export interface KeptOutput {
  readonly bytes: Buffer;
  /** number of bytes before them; 1 stands for any number where QEMU does not count it */
  readonly missing: number;
}

/** Takes the earlier output and the channel. It must read the channel, as QEMU may block on it. */
export type TakeChannel = (kept: KeptOutput, channel: Duplex) => void;

/** A running QEMU. */
export interface SwitchedQemu {
  readonly pid: number;
  readonly qmp: Qmp;
  readonly blocking: BlockingChannels;
  readonly descriptors: readonly Descriptor[];
}

/** Replaces the back-end of a chardev. Rejects with the reason; the chardev is unchanged then. */
export type SwitchToChannel = (
  chardev: { readonly id: string; readonly backend: OwnBackend },
  take: TakeChannel,
) => Promise<void>;

/** Returns the function that replaces back-ends of a running QEMU. */
export function channelSwitch(qemu: SwitchedQemu): SwitchToChannel {
  return (chardev, take) => switchToChannel(qemu, chardev, take);
}

async function switchToChannel(
  qemu: SwitchedQemu,
  { id, backend }: Parameters<SwitchToChannel>[0],
  take: TakeChannel,
): Promise<void> {
  const { qmp, blocking } = qemu;
  await using source = backend.type === 'file' ? await openSource(qemu, id, backend) : openRing(qmp, id);
  using pair = await blocking.open(id);
  await qmp.execute('getfd', { fdname: id }, [pair.end]);
  await whileStopped(qmp, async () => {
    const kept = await source.read();
    try {
      await qmp.execute('chardev-change', { id, backend: socketArguments(id, source.log) });
    } catch (error) {
      await source.restore(kept);
      throw error;
    }
    const channel = pair.use(channelInsteadOf(backend).waits);
    source.writeFrom(channel);
    take(kept, channel);
  });
}

/** Runs `act` while the vCPUs are stopped. They run afterwards if they did before. */
async function whileStopped(qmp: Qmp, act: () => Promise<void>): Promise<void> {
  const { status } = await qmp.execute('query-status');
  if (status !== 'running') return act();
  await qmp.execute('stop');
  try {
    await act();
  } finally {
    await qmp.execute('cont');
  }
}

function socketArguments(id: string, log: string | undefined): ChardevBackendArgs {
  const addr = { type: 'fd', data: { str: id } } as const;
  const file = log === undefined ? {} : { logfile: log, logappend: true };
  return { type: 'socket', data: { addr, server: false, ...file } };
}

/** The back-end before the change. */
interface Source extends AsyncDisposable {
  /** path of the file that QEMU continues to write, in QEMU */
  readonly log: string | undefined;
  readonly read: () => Promise<KeptOutput>;
  /** Undoes `read` after a failure. */
  readonly restore: (kept: KeptOutput) => Promise<void>;
  /** Writes the channel to a FIFO or a device, which QEMU no longer writes. */
  readonly writeFrom: (channel: Duplex) => void;
}

const NONE = async (): Promise<void> => undefined;

function openRing(qmp: Qmp, device: string): Source {
  return {
    log: undefined,
    read: async () => {
      const text = await qmp.execute('ringbuf-read', { device, size: RING_BYTES, format: 'base64' });
      const bytes = Buffer.from(text, 'base64');
      return { bytes, missing: bytes.length < RING_BYTES ? 0 : 1 };
    },
    restore: ({ bytes }) =>
      qmp.execute('ringbuf-write', { device, data: bytes.toString('base64'), format: 'base64' }),
    writeFrom: () => undefined,
    [Symbol.asyncDispose]: NONE,
  };
}

/** Opens the file that QEMU writes, by QEMU's descriptor: its path may be another file meanwhile. */
async function openSource(qemu: SwitchedQemu, id: string, { path }: FileBackend): Promise<Source> {
  const set = descriptorOf(qemu.descriptors, id);
  const sets = await qemu.qmp.execute('query-fdsets');
  const fd = sets.find((one) => one['fdset-id'] === set)?.fds[0]?.fd;
  if (fd === undefined) throw new Error(`${path}: QEMU has closed the file`);
  const opened = `/proc/${qemu.pid}/fd/${fd}`;
  const status = await beforeDeadline(path, () => stat(opened));
  return status.isFile() ? openRegular(opened, `/dev/fdset/${set}`) : openStreamed(opened);
}

/** Opens a regular file. Without the right to read it, the output has no replay. */
async function openRegular(path: string, log: string): Promise<Source> {
  const file = await openFile(path).catch(() => undefined);
  return {
    log,
    read: async () => {
      const { size } = await beforeDeadline(path, () => stat(path));
      const bytes = file === undefined ? Buffer.alloc(0) : await readEnd(file, size);
      return { bytes, missing: size - bytes.length };
    },
    restore: NONE,
    writeFrom: () => undefined,
    [Symbol.asyncDispose]: async () => file?.close(),
  };
}

async function readEnd(file: FileHandle, size: number): Promise<Buffer> {
  const length = Math.min(size, RING_BYTES);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
  return buffer.subarray(0, bytesRead);
}

async function openStreamed(path: string): Promise<Source> {
  let file: FileHandle | undefined = await openFile(path, { flags: constants.O_WRONLY, kinds: OUTPUT_KINDS });
  return {
    log: undefined,
    read: async () => ({ bytes: Buffer.alloc(0), missing: 0 }),
    restore: NONE,
    writeFrom: (channel) => {
      if (file !== undefined) writeTo(file, channel);
      file = undefined;
    },
    [Symbol.asyncDispose]: async () => file?.close(),
  };
}
