import type { Readable } from 'node:stream';
import { abortable } from '../../util/abortable.ts';
import { clip, VALUE_MAX } from '../../util/clip.ts';
import { reasonOf } from '../../util/errno.ts';
import { openStreams, type ChannelStreams } from '../channel-streams.ts';
import { openSession, type Connection } from '../connection.ts';
import { GuestError } from '../errors.ts';
import type { FileKind } from '../guest.ts';
import { string, uint32, uint64, type FieldReader } from './fields.ts';
import { openSftpProtocol, PACKET, SftpStatusError, STATUS, type SftpProtocol } from './protocol.ts';

/*
 * Files of a guest by SFTP version 3 (draft-ietf-secsh-filexfer-02), one session for each transfer. The session ends with the transfer,
 * also after an abort, so that no handle is left in the guest.
 *
 *   transfer.ts         uploads and downloads
 *   upload.ts           reads the host, writes the guest
 *   download.ts         reads the guest, writes the host
 *   archive.ts          both, as tar archives
 *   host-directory.ts   directories of the host, safe against names and links of the guest
 *   chunks.ts           content of files, with several requests at the same time
 *   sftp.ts             calls of a session
 *   protocol.ts         packets and requests; fields.ts: their fields
 *
 * Invariant: the server is hostile. Names of directory entries, numbers of entries, and sizes are checked where they are used.
 */

/** Bytes of one request; servers accept at least 32 KiB of data. */
export const CHUNK_BYTES = 32_768;

/** Requests for data at the same time. */
export const CHUNKS_IN_FLIGHT = 16;

/** Attributes of a file in the guest. */
export interface GuestFile {
  readonly kind: FileKind;
  /** Permission bits */
  readonly mode: number;
  /** `bytes` */
  readonly size: number;
  readonly uid: number;
  readonly gid: number;
  /** Time of the last change of the content, in `seconds` since 1970 */
  readonly mtime: number;
}

/** Entry of a directory. The name is not checked. */
export interface GuestEntry extends GuestFile {
  readonly name: string;
}

/** Calls of a session. Each rejects with GuestError, which names the path. */
export interface Sftp {
  readonly stat: (path: string) => Promise<GuestFile>;
  /** Undefined if there is no file */
  readonly lstat: (path: string) => Promise<GuestFile | undefined>;
  readonly openToRead: (path: string) => Promise<Buffer>;
  /** Creates or empties a file */
  readonly openToWrite: (path: string, mode: number) => Promise<OpenedFile>;
  readonly openDirectory: (path: string) => Promise<Buffer>;
  /** Returns some entries; undefined at the end */
  readonly readDirectory: (path: string, handle: Buffer) => Promise<readonly GuestEntry[] | undefined>;
  /** Returns less than a chunk at the end of the file only */
  readonly readChunk: (path: string, handle: Buffer, position: number) => Promise<Buffer>;
  readonly write: (path: string, handle: Buffer, bytes: Buffer, position: number) => Promise<void>;
  readonly setMode: (path: string, handle: Buffer, mode: number) => Promise<void>;
  readonly close: (path: string, handle: Buffer) => Promise<void>;
  readonly makeDirectory: (path: string, mode: number) => Promise<void>;
  readonly changeMode: (path: string, mode: number) => Promise<void>;
  /** Sets the time of the last change, in `seconds` since 1970, below 2^32 */
  readonly changeTime: (path: string, seconds: number) => Promise<void>;
  readonly readLink: (path: string) => Promise<string>;
  readonly makeLink: (path: string, target: string) => Promise<void>;
  /** Rejects where the server has no extension for it */
  readonly makeHardLink: (path: string, target: string) => Promise<void>;
  readonly remove: (path: string) => Promise<void>;
}

/** A file that is open for writing. */
export interface OpenedFile {
  readonly handle: Buffer;
  readonly isNew: boolean;
}

/** A session of one transfer. */
export interface SftpSession {
  /** Calls that end with the transfer's signal */
  readonly sftp: Sftp;
  /** Removes an incomplete file, after an abort too. Never rejects */
  readonly discard: (path: string) => Promise<void>;
}

/** A running upload or download. */
export interface Transfer extends SftpSession {
  readonly signal: AbortSignal;
  /** Takes the number of bytes of each part that has been copied */
  readonly onBytes: (count: number) => void;
  /** Takes an entry that cannot be copied; absent where it is an error */
  readonly onSkipped: ((path: string) => void) | undefined;
}

/** Leaves out an entry of a directory or an archive: a socket, FIFO or device. @throws GuestError where that is not wanted */
export function skipEntry({ onSkipped }: Pick<Transfer, 'onSkipped'>, path: string, where = ''): void {
  if (onSkipped === undefined)
    throw new GuestError('transfer', `${path}${where} is neither a file, a directory nor a link`);
  onSkipped(path);
}

/** Flags of OPEN (6.3) and of attributes (5). */
const OPEN = { read: 1, write: 2, create: 8, truncate: 16, exclusive: 32 } as const;
const ATTRIBUTES = { size: 1, owner: 2, mode: 4, times: 8, extended: 0x8000_0000 } as const;

/** Extension of OpenSSH's server (PROTOCOL, 4.5). */
const HARD_LINK = 'hardlink@openssh.com';

const TYPE_MASK = 0o170000;
const KINDS = new Map<number, GuestFile['kind']>([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'link'],
]);

/** Time limit of the removal of an incomplete file, and of the server's end, in milliseconds. */
const DISCARD_MS = 5000;

/** Runs a transfer in a session of its own. @throws GuestError */
export async function withSftp<T>(
  connection: Connection,
  signal: AbortSignal,
  transfer: (session: SftpSession) => Promise<T>,
): Promise<T> {
  const { text, subsystem } = connection.sftp;
  const attach = (channel: Parameters<typeof openStreams>[0]): ChannelStreams =>
    openStreams(channel, connection.failure);
  const session = await openSession(connection, { text, subsystem, attach }, signal);
  const { stdin, stdout, stderr, closed } = session.attached;
  const complaint = keepText(stderr);
  try {
    const protocol = await abortable(signal, openSftpProtocol(stdin, stdout));
    const discard = (path: string): Promise<void> =>
      callsOf(protocol, AbortSignal.timeout(DISCARD_MS))
        .remove(path)
        .catch(() => undefined);
    return await transfer({ sftp: callsOf(protocol, signal), discard });
  } catch (error) {
    if (error instanceof GuestError) throw error;
    const said = complaint();
    throw new GuestError('refused', `SFTP in the guest: ${reasonOf(error)}${said && `: ${said}`}`, {
      cause: error,
    });
  } finally {
    // the server ends at the end of its input
    stdin.end();
    await abortable(AbortSignal.timeout(DISCARD_MS), closed).catch(() => undefined);
    session.release();
  }
}

/** Longest complaint of the server that an error quotes, in bytes. */
const COMPLAINT_MAX = 1024;

/** Reads a stream to its end, and keeps its first bytes. Returns a function with their text in one line. */
function keepText(stream: Readable): () => string {
  let kept = Buffer.alloc(0);
  stream.on('data', (bytes: Buffer) => {
    if (kept.length < COMPLAINT_MAX) kept = Buffer.concat([kept, bytes]).subarray(0, COMPLAINT_MAX);
  });
  return () => kept.toString().trim().replaceAll(/\s+/g, ' ');
}

/** Sends a request for a path, which ends with its answer or the signal. */
type Request = (
  path: string,
  type: number,
  fields: readonly Buffer[],
  answer?: number,
) => Promise<FieldReader>;

function callsOf(protocol: SftpProtocol, signal: AbortSignal): Sftp {
  const request: Request = async (path, type, fields, answer = PACKET.status) => {
    signal.throwIfAborted();
    return abortable(signal, protocol.request(type, fields, answer)).catch((error: unknown) => {
      throw signal.aborted ? signal.reason : transferError(path, error);
    });
  };
  const act = async (path: string, type: number, ...fields: readonly Buffer[]): Promise<void> => {
    await request(path, type, fields);
  };
  const handleOf = async (path: string, type: number, ...fields: readonly Buffer[]): Promise<Buffer> =>
    (await request(path, type, fields, PACKET.handle)).string();
  const fileOf = async (path: string, type: number): Promise<GuestFile> =>
    readAttributes(await request(path, type, [string(path)], PACKET.attributes));
  return {
    stat: (path) => fileOf(path, PACKET.stat),
    lstat: (path) => fileOf(path, PACKET.lstat).catch(unless(STATUS.noSuchFile)),
    openToRead: (path) => handleOf(path, PACKET.open, string(path), uint32(OPEN.read), uint32(0)),
    openToWrite: (path, mode) => openToWrite(handleOf, path, mode),
    openDirectory: (path) => handleOf(path, PACKET.opendir, string(path)),
    readDirectory: (path, handle) =>
      request(path, PACKET.readdir, [string(handle)], PACKET.name)
        .then(readEntries)
        .catch(unless(STATUS.endOfFile)),
    readChunk: (path, handle, position) => readChunk(request, { path, handle, position }),
    write: (path, handle, bytes, position) =>
      act(path, PACKET.write, string(handle), uint64(position), string(bytes)),
    setMode: (path, handle, mode) => act(path, PACKET.fsetstat, string(handle), modeOnly(mode)),
    close: (path, handle) => act(path, PACKET.close, string(handle)),
    makeDirectory: (path, mode) => act(path, PACKET.mkdir, string(path), modeOnly(mode)),
    changeMode: (path, mode) => act(path, PACKET.setstat, string(path), modeOnly(mode)),
    changeTime: (path, seconds) => act(path, PACKET.setstat, string(path), timesOnly(seconds)),
    readLink: async (path) => {
      const fields = await request(path, PACKET.readlink, [string(path)], PACKET.name);
      fields.uint32();
      return fields.string().toString();
    },
    makeLink: (path, target) => {
      // OpenSSH's server has the arguments in reverse
      const isOpenSsh = protocol.extensions.has('posix-rename@openssh.com');
      const [first, second] = isOpenSsh ? [target, path] : [path, target];
      return act(path, PACKET.symlink, string(first), string(second));
    },
    makeHardLink: (path, target) => {
      if (!protocol.extensions.has(HARD_LINK))
        throw transferError(path, new Error('the SFTP server makes no hard links'));
      return act(path, PACKET.extended, string(HARD_LINK), string(target), string(path));
    },
    remove: (path) => act(path, PACKET.remove, string(path)),
  };
}

/** Creates a file, or empties an existing one. The server has no status of its own for the latter. */
async function openToWrite(
  open: (path: string, type: number, ...fields: readonly Buffer[]) => Promise<Buffer>,
  path: string,
  mode: number,
): Promise<OpenedFile> {
  const openWith = (flags: number): Promise<Buffer> =>
    open(path, PACKET.open, string(path), uint32(OPEN.write | OPEN.create | flags), modeOnly(mode));
  try {
    return { handle: await openWith(OPEN.exclusive), isNew: true };
  } catch (error) {
    unless(STATUS.failure)(error);
    return { handle: await openWith(OPEN.truncate), isNew: false };
  }
}

interface ChunkPlace {
  readonly path: string;
  readonly handle: Buffer;
  readonly position: number;
}

/** Reads a chunk: a server may return less than it was asked for. */
async function readChunk(request: Request, { path, handle, position }: ChunkPlace): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  while (length < CHUNK_BYTES) {
    const fields = [string(handle), uint64(position + length), uint32(CHUNK_BYTES - length)];
    const answer = await request(path, PACKET.read, fields, PACKET.data).catch(unless(STATUS.endOfFile));
    const bytes = answer?.string();
    if (bytes === undefined || bytes.length === 0) break;
    if (bytes.length > CHUNK_BYTES - length)
      throw transferError(path, new Error('the SFTP server sent too much'));
    parts.push(bytes);
    length += bytes.length;
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
}

function readEntries(fields: FieldReader): readonly GuestEntry[] {
  const count = fields.uint32();
  const entries: GuestEntry[] = [];
  // the reader throws at the end of the packet
  for (let i = 0; i < count; i++) {
    const name = fields.string().toString();
    fields.string();
    entries.push({ name, ...readAttributes(fields) });
  }
  return entries;
}

function readAttributes(fields: FieldReader): GuestFile {
  const flags = fields.uint32();
  const pair = (flag: number): readonly [number, number] =>
    (flags & flag) === 0 ? [0, 0] : [fields.uint32(), fields.uint32()];
  const [high, low] = pair(ATTRIBUTES.size);
  const [uid, gid] = pair(ATTRIBUTES.owner);
  const mode = (flags & ATTRIBUTES.mode) === 0 ? 0 : fields.uint32();
  const [, mtime] = pair(ATTRIBUTES.times);
  if ((flags & ATTRIBUTES.extended) !== 0) {
    for (let count = fields.uint32(); count > 0; count--) {
      fields.string();
      fields.string();
    }
  }
  const kind = KINDS.get(mode & TYPE_MASK) ?? 'other';
  return { kind, mode: mode & 0o7777, size: high * 2 ** 32 + low, uid, gid, mtime };
}

function modeOnly(mode: number): Buffer {
  return Buffer.concat([uint32(ATTRIBUTES.mode), uint32(mode)]);
}

function timesOnly(seconds: number): Buffer {
  return Buffer.concat([uint32(ATTRIBUTES.times), uint32(seconds), uint32(seconds)]);
}

/** Returns a function that turns an error of a status into undefined, and throws any other. */
function unless(status: number): (error: unknown) => undefined {
  return (error) => {
    const cause: unknown = error instanceof GuestError ? error.cause : undefined;
    if (cause instanceof SftpStatusError && cause.status === status) return undefined;
    throw error;
  };
}

function transferError(path: string, cause: unknown): GuestError {
  return new GuestError('transfer', `${clip(path, VALUE_MAX)} in the guest: ${reasonOf(cause)}`, { cause });
}
