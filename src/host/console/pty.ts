import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { createByteQueue, dropOldest } from '../../util/byte-queue.ts';
import { createDrain } from '../../util/drain.ts';
import { codeOf } from '../../util/errno.ts';
import { loadLibc, type Libc } from '../../native/libc.ts';
import { createReadiness } from '../../native/readiness.ts';
import { HOLD_BYTES, MOST_BYTES, RESUME_BYTES, UNREAD_BYTES, type HostConsole } from './host-console.ts';

/** A full PTY is tried again after this time, in milliseconds, in case the kernel did not tell that there is space. */
const RETRY_MS = 100;

/** How much input is read at one go, in bytes: all that a terminal holds. */
const READ_BYTES = 65_536;

/** A pseudo terminal of the VMM: a client opens `path`, as often and whenever it likes. */
export interface Pty extends HostConsole {
  /** e.g. `/dev/pts/3` */
  readonly path: string;
}

/**
 * Opens a PTY in raw mode. Only the master stays open, so that the kernel tells whether a client has the slave open: while
 * none has, the newest {@link UNREAD_BYTES} of the guest's output are kept beside the kernel's own buffer.
 */
export async function openPty(): Promise<Pty> {
  const libc = await loadLibc();
  const { path, master } = openPair(libc);
  try {
    setRaw(libc, path);
    const readiness = await createReadiness();
    const input = createInput(master);
    const output = createOutput(master, () => hasClient(libc, master));
    const watch = readiness.watchChanges(master, (isReadable) => {
      if (isReadable) input.read();
      output.flush();
    });
    return {
      path,
      write: output.write,
      onDrain: output.onDrain,
      onInput: input.onInput,
      pauseInput: input.pause,
      resumeInput: input.resume,
      dispose: () => {
        input.pause();
        output.stop();
        watch.remove();
        readiness.close();
        closeSync(master);
      },
    };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

interface Input {
  readonly read: () => void;
  readonly onInput: HostConsole['onInput'];
  readonly pause: () => void;
  readonly resume: () => void;
}

/** Reads what clients type, until there is no more or `pause`. */
function createInput(master: number): Input {
  const buffer = Buffer.alloc(READ_BYTES);
  let take: (bytes: Buffer) => void = () => undefined;
  let isPaused = true;
  const readOne = (): boolean => {
    const count = isPaused ? 0 : readSome(master, buffer);
    if (count > 0) take(Buffer.from(buffer.subarray(0, count)));
    return count > 0;
  };
  const read = (): void => {
    while (readOne());
  };
  const resume = (): void => {
    isPaused = false;
    read();
  };
  return {
    read,
    onInput: (next) => {
      take = next;
      resume();
    },
    pause: () => {
      isPaused = true;
    },
    resume,
  };
}

interface Output extends Pick<HostConsole, 'write' | 'onDrain'> {
  readonly flush: () => void;
  readonly stop: () => void;
}

/** Writes what the terminal takes, and queues the rest: all of it for a client, the newest without one. */
function createOutput(master: number, hasClient: () => boolean): Output {
  const queue = createByteQueue();
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  const drain = createDrain();

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    writeSome(master, queue);
    if (queue.length() > UNREAD_BYTES && !hasClient()) dropOldest(queue, UNREAD_BYTES);
    if (queue.length() > 0) timer = setTimeout(flush, RETRY_MS).unref();
    drain.check(queue.length());
  };
  return {
    flush,
    write: (bytes) => {
      // the descriptor may be another file's by now
      if (isStopped) return true;
      queue.push(bytes);
      if (timer === undefined) flush();
      else if (queue.length() > UNREAD_BYTES && !hasClient()) dropOldest(queue, UNREAD_BYTES);
      dropOldest(queue, MOST_BYTES);
      return queue.length() <= HOLD_BYTES;
    },
    onDrain: (resume) => drain.wait(RESUME_BYTES, resume),
    stop: () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

/** Moves bytes from the queue to the terminal until it is full. */
function writeSome(fd: number, queue: ReturnType<typeof createByteQueue>): void {
  try {
    while (queue.length() > 0) queue.drop(writeSync(fd, queue.front()));
  } catch (error) {
    if (codeOf(error) !== 'EAGAIN') queue.drop(queue.length());
  }
}

/** @returns the number of bytes that were read, 0 where there are none now (EAGAIN) or no client has the slave open (EIO) */
function readSome(fd: number, buffer: Buffer): number {
  try {
    return readSync(fd, buffer);
  } catch {
    return 0;
  }
}

function openPair(libc: Libc): { path: string; master: number } {
  const master = libc.posix_openpt(constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK | O_CLOEXEC);
  if (master < 0) throw new Error('no pseudo terminal could be opened: is /dev/ptmx there, are all in use?');
  if (libc.grantpt(master) !== 0 || libc.unlockpt(master) !== 0) {
    closeSync(master);
    throw new Error('the pseudo terminal could not be unlocked');
  }
  return { path: libc.ptsname(master), master };
}

const O_CLOEXEC = 0o2000000;

/**
 * No echo, no line editing, no signals: bytes go through as they are. The settings stay with the master. The slave is opened
 * and closed once, as the kernel tells of a slave without clients only after the first close.
 */
function setRaw(libc: Libc, path: string): void {
  const fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
  try {
    const termios = Buffer.alloc(256);
    libc.tcgetattr(fd, termios);
    libc.cfmakeraw(termios);
    libc.tcsetattr(fd, 0, termios);
  } finally {
    closeSync(fd);
  }
}

const POLLHUP = 0x10;

/** Whether any process has the slave open: without one the kernel reports a hang-up at the master. */
function hasClient(libc: Libc, master: number): boolean {
  const asked = Buffer.alloc(8);
  asked.writeInt32LE(master, 0);
  libc.poll(asked, 1, 0);
  return (asked.readInt16LE(6) & POLLHUP) === 0;
}
