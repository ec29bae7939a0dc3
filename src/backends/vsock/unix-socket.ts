import { closeSync, constants, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import {
  accept4,
  AF_UNIX,
  close,
  connect,
  errno,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  socket,
} from '../../native/libc.ts';
import { SOCKET_PATH_MAX, socketAddress } from '../../native/socket-address.ts';

const SOCKET_FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC;

/** The next connection of a listener. @returns the negative errno where there is none */
export function acceptFrom(listener: number): number {
  const fd = accept4(listener, 0, 0, SOCKET_FLAGS);
  return fd < 0 ? -errno() : fd;
}

/** Connects to a program of the host, without waiting. @returns the negative errno where it cannot */
export function connectTo(path: string): number {
  const fd = socket(AF_UNIX, SOCK_STREAM | SOCKET_FLAGS, 0);
  if (fd < 0) return -errno();
  const result =
    Buffer.byteLength(path) <= SOCKET_PATH_MAX ? connectPath(fd, path) : connectLongPath(fd, path);
  if (result < 0) close(fd);
  return result < 0 ? result : fd;
}

function connectPath(fd: number, path: string): number {
  const address = socketAddress(path);
  return connect(fd, address, address.length) < 0 ? -errno() : 0;
}

/** A listener's path may be as long as an address can be; with a port behind it, only its last part fits. */
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

const ENOENT = 2;
const ENAMETOOLONG = 36;
