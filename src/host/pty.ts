import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { codeOf } from '../util/errno.ts';
import { loadNative } from '../util/native.ts';

/** How much guest output a PTY without a reader keeps beyond the kernel's own buffer, in bytes: the newest stays. */
const BACKLOG_BYTES = 65_536;

/** How much is kept for a reader that is slower than a guest that cannot wait, in bytes. */
const MOST_BYTES = 16 * 2 ** 20;

/**
 * When a full PTY is tried again, in milliseconds: soon while somebody reads, then ever more seldom.
 * An O_NONBLOCK master cannot be polled through Node.
 */
const RETRY_MS = { first: 2, last: 100 };

/** How long a reader may take before what it leaves counts as read by nobody, in milliseconds. */
const READER_PATIENCE_MS = 3000;

/** A pseudo terminal of the VMM: a client opens `path`, as often and whenever it likes. */
export interface Pty {
  /** e.g. `/dev/pts/3` */
  readonly path: string;
  /**
   * Gives output to whoever reads the terminal; never blocks, the oldest is lost when nobody reads.
   * @returns false when somebody reads, but slower than this: call `onDrain` and wait, and nothing is lost; who cannot
   * wait has 16 MiB before the oldest is
   */
  readonly write: (bytes: Buffer) => boolean;
  /** Calls `resume` once, when more can be taken. */
  readonly onDrain: (resume: () => void) => void;
  /** What is typed into the terminal goes to `take` from now on. */
  readonly onInput: (take: (bytes: Buffer) => void) => void;
  readonly dispose: () => void;
}

/** Opens a PTY in raw mode and holds both of its ends, so that readers may come and go. */
export async function openPty(): Promise<Pty> {
  const { path, master } = await openPair();
  const slave = await openRaw(path).catch((error: unknown) => {
    closeSync(master);
    throw error;
  });
  const input = new ReadStream(master);
  let take: (bytes: Buffer) => void = () => undefined;
  input.on('data', (bytes: Buffer) => take(bytes));
  // the last reader's close is no concern of ours, and a read error comes with dispose
  input.on('error', () => undefined);
  const output = backlog(master);
  return {
    path,
    write: output.write,
    onDrain: output.onDrain,
    onInput: (next) => {
      take = next;
    },
    dispose: () => {
      output.stop();
      input.destroy();
      closeSync(slave);
    },
  };
}

interface Backlog extends Pick<Pty, 'write' | 'onDrain'> {
  readonly stop: () => void;
}

/** Writes what the terminal takes and keeps the rest: all of it for a reader that is slow, the newest for nobody. */
function backlog(master: number): Backlog {
  let kept: Buffer = Buffer.alloc(0);
  let timer: NodeJS.Timeout | undefined;
  let pause = RETRY_MS.first;
  let lastTaken = performance.now();
  let resume: (() => void) | undefined;

  const isRead = (): boolean => performance.now() - lastTaken < READER_PATIENCE_MS;
  const flush = (): void => {
    timer = undefined;
    const taken = writeSome(master, kept);
    if (taken > 0) lastTaken = performance.now();
    kept = kept.subarray(taken);
    pause = taken > 0 ? RETRY_MS.first : Math.min(pause * 2, RETRY_MS.last);
    if (kept.length > 0) timer = setTimeout(flush, pause).unref();
    if (kept.length <= BACKLOG_BYTES || !isRead()) drained();
  };
  const drained = (): void => {
    if (kept.length > BACKLOG_BYTES) kept = Buffer.from(kept.subarray(kept.length - BACKLOG_BYTES));
    const go = resume;
    resume = undefined;
    go?.();
  };
  return {
    write: (bytes) => {
      kept = kept.length === 0 ? bytes : Buffer.concat([kept, bytes]);
      if (kept.length > MOST_BYTES) kept = kept.subarray(kept.length - MOST_BYTES);
      if (timer === undefined) flush();
      if (kept.length > BACKLOG_BYTES && isRead()) return false;
      drained();
      return true;
    },
    onDrain: (next) => {
      resume = next;
    },
    stop: () => clearTimeout(timer),
  };
}

/** @returns the number of bytes that were taken, 0 when the terminal is full */
function writeSome(fd: number, bytes: Buffer): number {
  let done = 0;
  try {
    while (done < bytes.length) done += writeSync(fd, bytes, done);
  } catch (error) {
    if (codeOf(error) !== 'EAGAIN') return bytes.length;
  }
  return done;
}

async function openPair(): Promise<{ path: string; master: number }> {
  const libc = await loadLibc();
  const master = libc.posix_openpt(constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  if (master < 0) throw new Error('no pseudo terminal could be opened: is /dev/ptmx there, are all in use?');
  if (libc.grantpt(master) !== 0 || libc.unlockpt(master) !== 0) {
    closeSync(master);
    throw new Error('the pseudo terminal could not be unlocked');
  }
  return { path: libc.ptsname(master), master };
}

/** No echo, no line editing, no signals: bytes go through as they are. */
async function openRaw(path: string): Promise<number> {
  const libc = await loadLibc();
  const fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
  const termios = Buffer.alloc(256);
  libc.tcgetattr(fd, termios);
  libc.cfmakeraw(termios);
  libc.tcsetattr(fd, 0, termios);
  return fd;
}

interface Libc {
  readonly posix_openpt: (flags: number) => number;
  readonly grantpt: (fd: number) => number;
  readonly unlockpt: (fd: number) => number;
  readonly ptsname: (fd: number) => string;
  readonly tcgetattr: (fd: number, termios: Buffer) => number;
  readonly cfmakeraw: (termios: Buffer) => void;
  readonly tcsetattr: (fd: number, when: number, termios: Buffer) => number;
}

async function loadLibc(): Promise<Libc> {
  const { libc } = await loadNative();
  return {
    posix_openpt: libc.func('int posix_openpt(int)'),
    grantpt: libc.func('int grantpt(int)'),
    unlockpt: libc.func('int unlockpt(int)'),
    ptsname: libc.func('const char *ptsname(int)'),
    tcgetattr: libc.func('int tcgetattr(int, _Out_ void *)'),
    cfmakeraw: libc.func('void cfmakeraw(_Inout_ void *)'),
    tcsetattr: libc.func('int tcsetattr(int, int, void *)'),
  };
}
