import { closeSync, constants, openSync, readFileSync, writeSync, type Stats } from 'node:fs';
import { codeOf } from '../util/errno.ts';
import { loadLibc } from './libc.ts';
import { callError, EAGAIN, errno } from './system-error.ts';
import { MSG_DONTWAIT, MSG_NOSIGNAL } from './unix-socket.ts';

/** Writes without blocking. @returns the number of bytes that were written, 0 where there is no space; throws where writing fails */
export type Take = (bytes: Buffer) => number;

/** A way of writing to a descriptor without blocking. */
export interface Writer {
  readonly take: Take;
  /** Settles when `take` can write: the C library may have to be loaded first. */
  readonly ready: Promise<void>;
  readonly close: () => void;
}

/** Chooses the way of writing for the kind of file. */
export function openWriter(fd: number, status: Stats): Writer {
  const ready = Promise.resolve();
  const direct: Writer = { take: (bytes) => writeNow(fd, bytes), ready, close: () => undefined };
  if (status.isSocket()) return nativeWriter(() => createSend(fd), direct);
  if (!status.isFIFO() && !status.isCharacterDevice()) return direct;
  if (isNonBlocking(fd)) return direct;
  const own = status.rdev === PTMX ? undefined : reopen(fd);
  if (own !== undefined) return { take: (bytes) => writeNow(own, bytes), ready, close: () => closeSync(own) };
  return nativeWriter(() => createPolledWrite(fd, status), direct);
}

/** Device number of /dev/ptmx (5:2): opening it again would create another terminal. */
const PTMX = 0x502;

/** Opens a file description of the VMM's own, where the file's permissions allow it (they may not, behind `sudo -u`). */
function reopen(fd: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}

function isNonBlocking(fd: number): boolean {
  try {
    const [, flags = '0'] = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1')) ?? [];
    return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
  } catch {
    return false;
  }
}

function writeNow(fd: number, bytes: Buffer): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    if (codeOf(error) === 'EAGAIN') return 0;
    throw error;
  }
}

/** Writes nothing until the C library is loaded; where that fails, writes as `other` does. */
function nativeWriter(create: () => Promise<Take>, other: Writer): Writer {
  let take: Take = () => 0;
  const ready = create().then(
    (created) => void (take = created),
    () => void (take = other.take),
  );
  return { take: (bytes) => take(bytes), ready, close: other.close };
}

async function createSend(fd: number): Promise<Take> {
  const { send, addressOf } = await loadLibc();
  return (bytes) => {
    const sent = send(fd, addressOf(bytes), bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno() === EAGAIN) return 0;
    throw callError('send');
  };
}

const POLLOUT = 0x4;

/** With POLLOUT a pipe takes a page, and a terminal some bytes: a write of that many does not block. */
const POLLED_BYTES = { pipe: 4096, terminal: 16 };

async function createPolledWrite(fd: number, status: Stats): Promise<Take> {
  const { poll } = await loadLibc();
  const most = status.isFIFO() ? POLLED_BYTES.pipe : POLLED_BYTES.terminal;
  const pollfd = Buffer.alloc(8);
  pollfd.writeInt32LE(fd, 0);
  pollfd.writeInt16LE(POLLOUT, 4);
  return (bytes) => (poll(pollfd, 1, 0) > 0 ? writeNow(fd, bytes.subarray(0, most)) : 0);
}
