import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf } from './errno.ts';
import { beforeDeadline, pathError } from './path-deadline.ts';
import { closeInBackground } from './background.ts';

/*
 * The one way to open a path that a user or a client named. An open(2) of a FIFO waits for the other end, and any call on
 * a dead network mount never returns: neither may block the event loop, a thread of libuv's pool or an operation.
 */

/** Kind of a file, by fstat. */
export type FileKind = 'file' | 'block' | 'character' | 'fifo';

/** Options of opening a path. */
export interface OpenRequest {
  /** access and creation flags; O_NONBLOCK and O_NOCTTY are always added, O_CLOEXEC by libuv */
  readonly flags?: number;
  /** permissions of a file that is created */
  readonly mode?: number;
  /** kinds that are accepted; any other is closed and refused */
  readonly kinds?: readonly FileKind[];
  /** reason in the error for any other kind */
  readonly refusal?: string;
  /** time limit for the file system, in milliseconds */
  readonly deadlineMs?: number;
  /** time limit for the reader of a FIFO that is opened for writing, in milliseconds */
  readonly readerDeadlineMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Flags of a file for output: created where it is missing, truncated where it exists. */
export const OUTPUT_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC;

/** Kinds that accept output. */
export const OUTPUT_KINDS: readonly FileKind[] = ['file', 'character', 'fifo'];

/** Time limit for the reader of a FIFO, in milliseconds: readers are often started together with the VMM. */
const READER_DEADLINE_MS = 3000;

/** Interval of the attempts to open a FIFO without a reader, in milliseconds. */
const READER_RETRY_MS = 20;

/** Largest text file that is read whole, in bytes. */
const TEXT_LIMIT_BYTES = 64 * 2 ** 20;

/**
 * Opens a path without blocking, and only where it is of an accepted kind (by default a regular file).
 * Rejects as `open` of Node does: `reasonOf` has the reason, the message the path. A late result is closed.
 */
export async function openFile(path: string, request: OpenRequest = {}): Promise<FileHandle> {
  const { flags = constants.O_RDONLY, deadlineMs, signal } = request;
  // checked first: opening a device can have an effect, and O_TRUNC must not hit the wrong file
  await checkKind(path, request);
  const file = await openWhenRead(path, flags, request);
  try {
    const status = await beforeDeadline(path, () => file.stat(), { deadlineMs, signal });
    refuseKind(path, kindOf(status), request);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Reads a whole regular file of bounded size as text. Rejects as {@link openFile}. */
export async function readText(path: string, options: ReadOptions = {}): Promise<string> {
  return (await readBytes(path, options)).toString('utf8');
}

/** Limits of a file that is read whole. */
export interface ReadOptions {
  /** largest size, in bytes */
  readonly limit?: number;
  /** flags beside O_RDONLY, e.g. O_NOFOLLOW */
  readonly flags?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Reads a whole regular file of bounded size. Rejects as {@link openFile}. */
export async function readBytes(
  path: string,
  { limit = TEXT_LIMIT_BYTES, flags = constants.O_RDONLY, signal }: ReadOptions = {},
): Promise<Buffer> {
  await using file = await openFile(path, { flags, signal });
  const { size } = await file.stat();
  if (size > limit) throw pathError('EFBIG', `is larger than ${limit} bytes`, path);
  return await beforeDeadline(path, () => readUpTo(file, size), { signal });
}

/** Reads up to the size that was checked, also where the file grows meanwhile. */
async function readUpTo(file: FileHandle, size: number): Promise<Buffer> {
  const bytes = Buffer.alloc(size);
  let done = 0;
  while (done < size) {
    const { bytesRead } = await file.read(bytes, done, size - done, done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

async function checkKind(path: string, request: OpenRequest): Promise<void> {
  const { deadlineMs, signal } = request;
  try {
    const status = await beforeDeadline(path, () => stat(path), { deadlineMs, signal });
    refuseKind(path, kindOf(status), request);
  } catch (error) {
    // the open creates it, or fails with the same reason
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

/** Opens a path; a FIFO for writing as soon as a process reads it. */
async function openWhenRead(path: string, flags: number, request: OpenRequest): Promise<FileHandle> {
  const { mode, deadlineMs, readerDeadlineMs = READER_DEADLINE_MS, signal } = request;
  const nonBlocking = flags | constants.O_NONBLOCK | constants.O_NOCTTY;
  const end = performance.now() + readerDeadlineMs;
  for (;;) {
    try {
      return await beforeDeadline(path, () => open(path, nonBlocking, mode), {
        deadlineMs,
        signal,
        onLate: closeInBackground,
      });
    } catch (error) {
      if (codeOf(error) !== 'ENXIO') throw error;
      if (performance.now() >= end) throw noPeer(path, kindOf(await stat(path)), error);
    }
    await delay(READER_RETRY_MS, undefined, { signal });
  }
}

function noPeer(path: string, kind: AnyKind, cause: unknown): Error {
  if (kind !== 'fifo') return pathError('ENXIO', 'no such device or address', path, cause);
  return pathError('ENXIO', 'is a FIFO that no process reads: start its reader first', path, cause);
}

type AnyKind = FileKind | 'directory' | 'socket';

type Kinds = Pick<
  Awaited<ReturnType<FileHandle['stat']>>,
  'isFile' | 'isDirectory' | 'isBlockDevice' | 'isCharacterDevice' | 'isFIFO'
>;

function kindOf(status: Kinds): AnyKind {
  if (status.isFile()) return 'file';
  if (status.isDirectory()) return 'directory';
  if (status.isBlockDevice()) return 'block';
  if (status.isCharacterDevice()) return 'character';
  return status.isFIFO() ? 'fifo' : 'socket';
}

const KIND_WORDS: Readonly<Record<AnyKind, string>> = {
  file: 'a regular file',
  block: 'a block device',
  character: 'a character device',
  fifo: 'a FIFO',
  directory: 'a directory',
  socket: 'a socket',
};

function refuseKind(path: string, kind: AnyKind, request: OpenRequest): void {
  const { flags = constants.O_RDONLY, kinds = ['file'], refusal } = request;
  if (kinds.some((one) => one === kind)) return;
  const isRead = (flags & (constants.O_WRONLY | constants.O_RDWR)) === 0;
  // the system's own text, unless the caller has a more precise one
  if (kind === 'directory' && !(isRead && refusal !== undefined)) {
    throw pathError('EISDIR', 'illegal operation on a directory', path);
  }
  const expected = kinds.map((one) => KIND_WORDS[one]).join(' or ');
  throw pathError('EINVAL', refusal ?? `is ${KIND_WORDS[kind]}: it must be ${expected}`, path);
}
