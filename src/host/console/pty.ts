import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { createByteQueue, dropOldest } from '../../util/byte-queue.ts';
import { createDrain } from '../../util/drain.ts';
import { codeOf } from '../../util/errno.ts';
import { loadLibc, type Libc } from '../../native/libc.ts';
import { createReadiness, type Readiness } from '../../native/readiness.ts';
import { HOLD_BYTES, MOST_BYTES, RESUME_BYTES, UNREAD_BYTES, type HostConsole } from './host-console.ts';

/** A write to a full PTY is retried after this time, in milliseconds, in case the kernel did not report free space. */
const RETRY_MS = 100;

/** Size of a read of input, in bytes: all that a terminal holds. */
const READ_BYTES = 65_536;

/** A pseudo terminal of the VMM: clients open and close `path` at any time. */
export interface Pty extends HostConsole {
  /** e.g. `/dev/pts/3` */
  readonly path: string;
}

/**
 * Opens a PTY in raw mode. Only the master stays open, so that the kernel reports whether a client has the slave open: while
 * none has, the newest {@link UNREAD_BYTES} of the guest's output are kept beside the kernel's own buffer.
 */
export async function openPty(): Promise<Pty> {
  const libc = await loadLibc();
  const { path, master } = openPair(libc);
  let readiness: Readiness | undefined;
  try {
    setRaw(libc, path);
    readiness = await createReadiness();
    const { close } = readiness;
    const input = createInput(master);
    const output = createOutput(master, () => hasClient(libc, master));
    const watch = readiness.watchChanges(master, (isReadable, isWritable) => {
      if (isReadable) input.read();
      // without a client the kernel reports a hang-up after each write, also after one to a full terminal
      if (isWritable) output.flush();
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
        close();
        closeSync(master);
      },
    };
  } catch (error) {
    readiness?.close();
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

/** Reads input of clients, until there is no more or `pause`. */
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

/** Writes as much as the terminal takes, and queues the rest: all of it for a client, the newest without one. */
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
      // the descriptor may belong to another file by now
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
 * Sets raw mode: no echo, no line editing, no signals. The settings stay with the master. The slave is opened
 * and closed once, as the kernel reports a slave without clients only after the first close.
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

/** Returns whether a process has the slave open: without one the kernel reports a hang-up at the master. */
function hasClient(libc: Libc, master: number): boolean {
  const pollfd = Buffer.alloc(8);
  pollfd.writeInt32LE(master, 0);
  libc.poll(pollfd, 1, 0);
  return (pollfd.readInt16LE(6) & POLLHUP) === 0;
}
