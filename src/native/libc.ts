import koffi from 'koffi';
import * as util from '../util/errno.ts';
import { SOCK_CLOEXEC, SOCK_NONBLOCK } from './socket-address.ts';

export { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from './socket-address.ts';

// The libc calls that back-ends need and Node lacks. Addresses are plain numbers: user space ends below 2^47.

const libc = koffi.load(null);

/** Values of Linux on x86-64. */
export const MSG_PEEK = 0x2;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;
export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x80000000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EAGAIN = 11;
export const EINTR = 4;
const EPOLL_CLOEXEC = 0o2000000;
const EFD_FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 0x1;
const MAP_PRIVATE = 0x2;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MADV_DONTNEED = 4;

// Each returns -1 and leaves the reason in errno, as in C. Those of the data path take no JavaScript object.
export const socket: (domain: number, type: number, protocol: number) => number =
  libc.func('int socket(int, int, int)');
export const socketpair: (domain: number, type: number, protocol: number, pair: Int32Array) => number =
  libc.func('int socketpair(int, int, int, _Out_ int *)');
export const connect: (fd: number, address: Uint8Array, length: number) => number = libc.func(
  'int connect(int, const uint8_t *, uint32_t)',
);
export const accept4: (fd: number, address: number, length: number, flags: number) => number = libc.func(
  'int accept4(int, size_t, size_t, int)',
);
export const shutdown: (fd: number, how: number) => number = libc.func('int shutdown(int, int)');
export const close: (fd: number) => number = libc.func('int close(int)');
export const read: (fd: number, address: number, length: number) => number = libc.func(
  'int64_t read(int, size_t, size_t)',
);
export const readv: (fd: number, vectors: number, count: number) => number = libc.func(
  'int64_t readv(int, size_t, int)',
);
export const writev: (fd: number, vectors: number, count: number) => number = libc.func(
  'int64_t writev(int, size_t, int)',
);
export const recv: (fd: number, address: number, length: number, flags: number) => number = libc.func(
  'int64_t recv(int, size_t, size_t, int)',
);
export const send: (fd: number, address: number, length: number, flags: number) => number = libc.func(
  'int64_t send(int, size_t, size_t, int)',
);
export const recvmsg: (fd: number, message: number, flags: number) => number = libc.func(
  'int64_t recvmsg(int, size_t, int)',
);
export const sendmsg: (fd: number, message: number, flags: number) => number = libc.func(
  'int64_t sendmsg(int, size_t, int)',
);
export const memcpy: (to: number, from: number, length: number) => number = libc.func(
  'size_t memcpy(size_t, size_t, size_t)',
);
/** Adds to an eventfd's counter. */
export const eventfdWrite: (fd: number, value: number) => number = libc.func(
  'int eventfd_write(int, uint64_t)',
);
export const epollControl: (epoll: number, operation: number, fd: number, event: Uint8Array) => number =
  libc.func('int epoll_ctl(int, int, int, const uint8_t *)');
export const epollWait: (epoll: number, events: number, count: number, timeout: number) => number = libc.func(
  'int epoll_wait(int, size_t, int, int)',
);

const mmap: (
  address: number,
  length: number,
  protection: number,
  ...rest: [flags: number, fd: number, offset: number]
) => number = libc.func('intptr_t mmap(size_t, size_t, int, int, int, int64_t)');
const munmap: (address: number, length: number) => number = libc.func('int munmap(size_t, size_t)');
const madvise: (address: number, length: number, advice: number) => number = libc.func(
  'int madvise(size_t, size_t, int)',
);
const eventfd: (initial: number, flags: number) => number = libc.func('int eventfd(unsigned int, int)');
const epollCreate: (flags: number) => number = libc.func('int epoll_create1(int)');

/** The reason of the last call that failed; asked for right after it. */
export const errno: () => number = () => koffi.errno();

/** A failed call as an error in Node's form: `EADDRINUSE: address already in use, bind`. */
export function systemError(call: string, number: number = errno()): Error {
  return util.systemError(call, number);
}

/** Passes a call's result on, or throws why it failed. */
export function checked(call: string, result: number): number {
  if (result < 0) throw systemError(call);
  return result;
}

/** Memory outside of the JavaScript heap, which the kernel can be told the address of. */
export interface Block {
  readonly address: number;
  readonly view: DataView;
  readonly free: () => void;
}

/** Maps memory of our own, all zeros, in whole pages. */
export function allocate(bytes: number): Block {
  const address = checked(
    'mmap',
    mmap(0, bytes, PROT_READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
  );
  return { address, view: viewOf(address, bytes), free: () => unmap(address, bytes) };
}

/** Maps the start of a file shared with other processes. */
export function mapShared(fd: number, bytes: number): number {
  return checked('mmap', mmap(0, bytes, PROT_READ_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0));
}

/** Takes a mapping away; no view of it may be used any more. */
export function unmap(address: number, bytes: number): void {
  checked('munmap', munmap(address, bytes));
}

/** Lets go of a shared mapping's pages: what they hold stays in the file, and they no longer count as ours. */
export function releasePages(address: number, bytes: number): void {
  madvise(address, bytes, MADV_DONTNEED);
}

/** A window on memory that stays mapped for as long as the view is used. */
export function viewOf(address: number, bytes: number): DataView {
  return new DataView(koffi.view(BigInt(address), bytes));
}

/** A counter that wakes whoever polls it. */
export function openEventfd(): number {
  return checked('eventfd', eventfd(0, EFD_FLAGS));
}

export function openEpoll(): number {
  return checked('epoll_create1', epollCreate(EPOLL_CLOEXEC));
}

/** Closes descriptors; one that is closed twice would close somebody else's. */
export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) close(fd);
}

/** Writes an entry of an array of `struct iovec`. */
export function putVector(vectors: DataView, index: number, address: number, length: number): void {
  const at = index * 16;
  vectors.setUint32(at, address >>> 0, true);
  vectors.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
  vectors.setUint32(at + 8, length, true);
  vectors.setUint32(at + 12, 0, true);
}
