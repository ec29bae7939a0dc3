import { closeSync, constants, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import { libc, loadLibc } from './libc.ts';
import {
  checked,
  EACCES,
  EAGAIN,
  ECONNREFUSED,
  EMFILE,
  ENAMETOOLONG,
  ENOENT,
  ENOTSOCK,
  EPROTOTYPE,
  errno,
} from './system-error.ts';

/** Values of Linux. */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4_000;
export const SOCK_CLOEXEC = 0o2_000_000;
export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const MSG_PEEK = 0x2;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_PASSCRED = 16;
const SO_SNDBUFFORCE = 32;

const SOCKET_FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC;

/** Longest path of a UNIX socket in `bytes` (unix(7)). */
export const SOCKET_PATH_MAX = 107;

/** @throws with the path where no socket can have it */
export function checkPathLength(path: string): void {
  if (Buffer.byteLength(path) > SOCKET_PATH_MAX)
    throw new Error(`${path}: longer than ${SOCKET_PATH_MAX} bytes`);
}

/** Encodes a `struct sockaddr_un`: the family in two bytes, then the path and a zero. */
export function socketAddress(path: string): Buffer {
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, Buffer.from(path), Buffer.alloc(1)]);
}

/**
 * Opens two connected sockets, close-on-exec; blocking unless `flags` has SOCK_NONBLOCK.
 * @throws the system's error
 */
export function openSocketPair(flags = 0): readonly [own: number, other: number] {
  const pair = new Int32Array(2);
  checked('socketpair', libc().socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, pair));
  const [own = -1, other = -1] = pair;
  return [own, other];
}

/**
 * Space that the kernel keeps for what was written and is not read yet, in `bytes`. Each write takes 768 bytes of it at least: that of
 * Linux has space for 277 characters that are written one by one.
 */
const SEND_BUFFER_BYTES = 2 ** 20;

/**
 * Gives a UNIX socket space for more writes that its peer has not read: 2,700 of a byte each, or 550 where the process lacks
 * CAP_NET_ADMIN and `net.core.wmem_max` has Linux's default.
 * @throws the system's error
 */
export function enlargeSendBuffer(fd: number): void {
  const bytes = Int32Array.of(SEND_BUFFER_BYTES);
  if (libc().setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes, bytes.byteLength) === 0) return;
  checked('setsockopt', libc().setsockopt(fd, SOL_SOCKET, SO_SNDBUF, bytes, bytes.byteLength));
}

/** Lets a UNIX socket pass the process that sends each message (SCM_CREDENTIALS, unix(7)). @throws the system's error */
export function passCredentials(fd: number): void {
  const on = Int32Array.of(1);
  checked('setsockopt', libc().setsockopt(fd, SOL_SOCKET, SO_PASSCRED, on, on.byteLength));
}

/** Accepts a listener's next connection, without waiting. @returns a non-blocking descriptor, or the negative errno */
export function acceptFrom(listener: number): number {
  const fd = libc().accept4(listener, 0, 0, SOCKET_FLAGS);
  return fd < 0 ? -errno() : fd;
}

/** Connects to a socket's path, without waiting. @returns a non-blocking descriptor, or the negative errno */
export function connectTo(path: string): number {
  const fd = libc().socket(AF_UNIX, SOCK_STREAM | SOCKET_FLAGS, 0);
  if (fd < 0) return -errno();
  const result =
    Buffer.byteLength(path) <= SOCKET_PATH_MAX ? connectPath(fd, path) : connectLongPath(fd, path);
  if (result < 0) libc().close(fd);
  return result < 0 ? result : fd;
}

function connectPath(fd: number, path: string): number {
  const address = socketAddress(path);
  return libc().connect(fd, address, address.length) < 0 ? -errno() : 0;
}

/** Connects by way of the folder's descriptor: with a port behind it, a path may be longer than an address can be. */
function connectLongPath(fd: number, path: string): number {
  let folder: number;
  try {
    folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    return -ENOENT;
  }
  try {
    const short = `/proc/self/fd/${folder}/${basename(path)}`;
    return Buffer.byteLength(short) <= SOCKET_PATH_MAX ? connectPath(fd, short) : -ENAMETOOLONG;
  } finally {
    closeSync(folder);
  }
}

/** A connection whose descriptor another process gets. */
export interface SocketConnection {
  readonly fd: number;
  readonly close: () => void;
}

/** Connects to a UNIX socket without waiting. Rejects with the path and the reason. */
export async function connectSocket(path: string): Promise<SocketConnection> {
  checkPathLength(path);
  await loadLibc();
  const fd = connectTo(path);
  if (fd >= 0) return { fd, close: () => closeSync(fd) };
  throw new Error(`${path}: ${CONNECT_REASONS.get(-fd) ?? `cannot be connected to (errno ${-fd})`}`);
}

const CONNECT_REASONS: ReadonlyMap<number, string> = new Map([
  [ENOENT, 'No such file or directory'],
  [ECONNREFUSED, 'no process listens there'],
  [EACCES, 'Permission denied'],
  [EMFILE, 'this process has no file descriptors left'],
  [EAGAIN, 'is busy with other connections'],
  [EPROTOTYPE, 'is no stream socket'],
  [ENOTSOCK, 'is not a socket'],
]);

/**
 * Returns the descriptor of a stream: Node has no documented way to it, but every version keeps it in the stream's handle.
 * @throws where the stream is closed
 */
export function descriptorOf(stream: Duplex): number {
  const handle: unknown = '_handle' in stream ? stream._handle : undefined;
  const fd = typeof handle === 'object' && handle !== null && 'fd' in handle ? handle.fd : undefined;
  if (typeof fd !== 'number' || fd < 0) throw new Error('the connection is closed');
  return fd;
}

/**
 * Stops the reads of a stream from its socket; a paused stream of Node still reads ahead. As {@link descriptorOf}, it uses the stream's
 * handle.
 * @returns a function that continues them; both do nothing for a closed stream
 */
export function holdReads(stream: Duplex): () => void {
  const handle: unknown = '_handle' in stream ? stream._handle : undefined;
  if (!isReader(handle)) return () => undefined;
  handle.readStop();
  return () => {
    if (!stream.destroyed) handle.readStart();
  };
}

/** Handle of an open stream. */
interface ReadingHandle {
  readonly readStop: () => number;
  readonly readStart: () => number;
}

function isReader(handle: unknown): handle is ReadingHandle {
  return typeof handle === 'object' && handle !== null && 'readStop' in handle && 'readStart' in handle;
}

/** Duplicates the descriptor of a stream. @throws the system's error */
export function duplicateDescriptor(stream: Duplex): number {
  return checked('dup', libc().dup(descriptorOf(stream)));
}

/** Bytes of one call. */
const UNREAD_BYTES = 65_536;

/** Takes the bytes that a socket has received and that its owner has not read. Does not wait; empty at the end of the stream and after an error. */
export function receiveUnread(fd: number): Buffer {
  const { recv, addressOf } = libc();
  const parts: Buffer[] = [];
  for (;;) {
    const part = Buffer.allocUnsafeSlow(UNREAD_BYTES);
    const count = recv(fd, addressOf(part), part.length, MSG_DONTWAIT);
    if (count <= 0) return Buffer.concat(parts);
    parts.push(part.subarray(0, count));
  }
}

/** Ends the output of a socket: the other end reads what is on the way, then the end of the stream. Without effect on a closed connection. */
export function endWriting(fd: number): void {
  libc().shutdown(fd, SHUT_WR);
}
