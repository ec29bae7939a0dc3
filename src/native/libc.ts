import { declareBatchCalls, type BatchCalls } from './batch-calls.ts';
import { loadKoffi } from './load-koffi.ts';
import {
  declareFileCalls,
  declareLimitCalls,
  declareThreadCalls,
  type AsyncCall,
  type Declare,
  type FileCalls,
  type LimitCalls,
  type ThreadCalls,
} from './file-calls.ts';
import { declareSpawnCalls, type SpawnCalls } from './spawn-calls.ts';
import { SYSCALL } from './syscall-numbers.ts';

/*
 * The one binding of the C library, for calls that Node lacks. koffi (`load-koffi.ts`) is loaded on first use:
 * `loadLibc` must have settled before a function of {@link libc} is called, and so before any function of this folder that is not
 * asynchronous. Each function of C is declared here once, under its own name.
 *
 * - `file-calls.ts` the calls of a file server, `file-status.ts` statx(2), `open-flags.ts` flags of open(2), `spawn-calls.ts` the calls
 *   that start a process, `batch-calls.ts` those that write many runs at once, `syscall-numbers.ts` calls that the C library
 *   lacks; part of the same table.
 * - `memory.ts` mmap blocks, memfds; `epoll.ts` epoll and eventfd; `unix-socket.ts` sockets and socket pairs;
 *   `descriptor-passing.ts` SCM_RIGHTS; `system-error.ts` errno. They are used by the main thread and by the threads of back-ends.
 * - `listening-socket.ts` is the policy for every path that a UNIX socket is bound to.
 * - `readiness.ts` waits for descriptors, `output.ts` writes to them, both without blocking the event loop.
 *
 * Invariants: an address is a number, as user space ends below 2^47; memory that the kernel gets an address of is mapped here, or
 * is a Buffer that the caller keeps until the call returns. The layouts of structs are those of 64-bit Linux.
 */

/**
 * Functions of the C library. Each returns -1 on failure and leaves the reason in errno, as in C. A parameter `address` is an
 * address as a number: a call with numbers alone creates no JavaScript objects.
 */
export interface Libc extends FileCalls, ThreadCalls, LimitCalls {
  readonly _exit: (code: number) => void;
  readonly accept4: (fd: number, address: number, length: number, flags: number) => number;
  /** calls that write many runs of bytes at once */
  readonly batchCalls: () => BatchCalls;
  readonly bind: (fd: number, name: Uint8Array, length: number) => number;
  readonly cfmakeraw: (termios: Buffer) => void;
  readonly close: (fd: number) => number;
  readonly connect: (fd: number, name: Uint8Array, length: number) => number;
  readonly dup: (fd: number) => number;
  readonly epoll_create1: (flags: number) => number;
  readonly epoll_ctl: (epoll: number, operation: number, fd: number, address: number) => number;
  readonly epoll_wait: AsyncCall<[epoll: number, address: number, count: number, timeout: number]>;
  readonly eventfd: (initial: number, flags: number) => number;
  readonly eventfd_write: (fd: number, value: number) => number;
  readonly fallocate: AsyncCall<[fd: number, mode: number, offset: number, length: number]>;
  readonly fcntl: (fd: number, command: number, type: 'int', argument: number) => number;
  readonly flock: (fd: number, operation: number) => number;
  readonly grantpt: (fd: number) => number;
  readonly ioctl: (fd: number, request: number, argument: Buffer) => number;
  /** `ioctl` of a request whose argument is a number */
  readonly ioctl_value: (fd: number, request: number, value: number) => number;
  readonly listen: (fd: number, backlog: number) => number;
  readonly lseek: AsyncCall<[fd: number, offset: number, whence: number]>;
  /** `lseek` with an offset beyond 2^53, as directories have them */
  readonly lseek64: (fd: number, offset: bigint, whence: number) => number | bigint;
  /** undefined in a C library other than glibc */
  readonly malloc_trim: ((pad: number) => number) | undefined;
  readonly madvise: AsyncCall<[address: number, length: number, advice: number]>;
  readonly memcpy: (to: number, from: number, length: number) => number;
  readonly memfd_create: (name: string, flags: number) => number;
  readonly mmap: AsyncCall<
    [address: number, length: number, protection: number, flags: number, fd: number, offset: number]
  >;
  readonly munmap: (address: number, length: number) => number;
  /** pidfd_open(2) and pidfd_getfd(2), which older C libraries have no functions for */
  readonly pidfd_open: (pid: number) => number;
  readonly pidfd_getfd: (pidfd: number, fd: number) => number;
  readonly pipe2: (ends: Int32Array, flags: number) => number;
  readonly poll: (pollfds: Buffer, count: number, timeout: number) => number;
  readonly posix_openpt: (flags: number) => number;
  readonly prctl: (option: number, ...values: [number, number, number, number]) => number;
  readonly process_vm_readv: AsyncCall<Parameters<ProcessCopy>>;
  readonly process_vm_writev: ProcessCopy;
  /** x86-64 passes the arguments of a variadic function as those of any other */
  readonly ptrace: (request: number, thread: number, address: number, data: number) => number;
  readonly ptsname: (fd: number) => string;
  readonly read: (fd: number, address: number, length: number) => number;
  readonly readv: (fd: number, address: number, count: number) => number;
  readonly recv: (fd: number, address: number, length: number, flags: number) => number;
  readonly recvmsg: (fd: number, address: number, flags: number) => number;
  readonly sched_setaffinity: (thread: number, bytes: number, mask: Buffer) => number;
  readonly send: (fd: number, address: number, length: number, flags: number) => number;
  readonly sendmsg: (fd: number, address: number, flags: number) => number;
  readonly setsockopt: (fd: number, level: number, option: number, ...value: [Int32Array, number]) => number;
  readonly shutdown: (fd: number, how: number) => number;
  /** calls that start a process */
  readonly spawnCalls: () => SpawnCalls;
  readonly socket: (domain: number, type: number, protocol: number) => number;
  readonly socketpair: (domain: number, type: number, protocol: number, pair: Int32Array) => number;
  readonly strerror: (errno: number) => string;
  /** io_uring_setup(2), which the C library has no function for */
  readonly syscall: (number: number, entries: number, params: Buffer) => number;
  readonly tcgetattr: (fd: number, termios: Buffer) => number;
  readonly tcsetattr: (fd: number, when: number, termios: Buffer) => number;
  readonly unlockpt: (fd: number) => number;
  readonly waitpid: (thread: number, status: Int32Array, options: number) => number;
  readonly writev: (fd: number, address: number, count: number) => number;

  /** errno of the last call that failed in this thread; to be read right after it */
  readonly errno: () => number;
  /** address of a Buffer's bytes, which the caller must keep for as long as the address is used */
  readonly addressOf: (bytes: Uint8Array) => number;
  /** bytes at an address, which must stay mapped for as long as they are used */
  readonly bytesAt: (address: number, length: number) => ArrayBuffer;
}

/** Copies between this process and another one (process_vm_readv(2)). Addresses are those of arrays of `struct iovec`. */
export type ProcessCopy = (
  pid: number,
  local: number,
  localCount: number,
  ...rest: [remote: number, remoteCount: number, flags: number]
) => number;

type Koffi = Awaited<typeof import('koffi')>['default'];

let loading: Promise<Libc> | undefined;
let loaded: Libc | undefined;

/** Loads the C library's functions, once in each thread. */
export function loadLibc(): Promise<Libc> {
  loading ??= loadKoffi().then((koffi) => (loaded = declare(koffi)));
  return loading;
}

/**
 * Returns the C library's functions.
 * @throws where `loadLibc` has not settled
 */
export function libc(): Libc {
  if (loaded === undefined) throw new Error('the C library is not loaded: await loadLibc() first');
  return loaded;
}

function declare(koffi: Koffi): Libc {
  const library = koffi.load(null);
  const call = (prototype: string) => library.func(prototype);
  let batchCalls: BatchCalls | undefined;
  let spawnCalls: SpawnCalls | undefined;
  return {
    ...declareDescriptors(call),
    ...declareSockets(call),
    ...declareMemory(call),
    ...declareTerminals(call),
    ...declareProcess(call),
    ...declareFileCalls(call),
    ...declareThreadCalls(call),
    ...declareLimitCalls(call),
    malloc_trim: declareTrim(call),
    batchCalls: () => (batchCalls ??= declareBatchCalls(call)),
    spawnCalls: () => (spawnCalls ??= declareSpawnCalls(call)),
    errno: () => koffi.errno(),
    addressOf: (bytes) => Number(koffi.address(bytes)),
    bytesAt: (address, length) => koffi.view(BigInt(address), length),
  };
}

function declareIoctlValue(call: Declare): Libc['ioctl_value'] {
  return call('int ioctl(int, unsigned long, unsigned long)');
}

/** Returns the function of glibc; undefined in another C library. */
function declareTrim(call: Declare): Libc['malloc_trim'] {
  try {
    return call('int malloc_trim(size_t)');
  } catch {
    return undefined;
  }
}

const declareDescriptors = (call: Declare) => ({
  close: call('int close(int)'),
  dup: call('int dup(int)'),
  epoll_create1: call('int epoll_create1(int)'),
  epoll_ctl: call('int epoll_ctl(int, int, int, size_t)'),
  epoll_wait: call('int epoll_wait(int, size_t, int, int)'),
  eventfd: call('int eventfd(unsigned int, int)'),
  eventfd_write: call('int eventfd_write(int, uint64_t)'),
  fallocate: call('int fallocate(int, int, int64_t, int64_t)'),
  fcntl: call('int fcntl(int, int, ...)'),
  flock: call('int flock(int, int)'),
  ioctl: call('int ioctl(int, unsigned long, _Inout_ void *)'),
  ioctl_value: declareIoctlValue(call),
  lseek: call('int64_t lseek(int, int64_t, int)'),
  lseek64: call('int64_t lseek64(int, int64_t, int)'),
  pipe2: call('int pipe2(_Out_ int *, int)'),
  poll: call('int poll(_Inout_ void *, unsigned long, int)'),
  read: call('int64_t read(int, size_t, size_t)'),
  readv: call('int64_t readv(int, size_t, int)'),
  syscall: call('long syscall(long, unsigned int, _Inout_ void *)'),
  writev: call('int64_t writev(int, size_t, int)'),
});

const declareSockets = (call: Declare) => ({
  accept4: call('int accept4(int, size_t, size_t, int)'),
  bind: call('int bind(int, const uint8_t *, uint32_t)'),
  connect: call('int connect(int, const uint8_t *, uint32_t)'),
  listen: call('int listen(int, int)'),
  recv: call('int64_t recv(int, size_t, size_t, int)'),
  recvmsg: call('int64_t recvmsg(int, size_t, int)'),
  send: call('int64_t send(int, size_t, size_t, int)'),
  sendmsg: call('int64_t sendmsg(int, size_t, int)'),
  setsockopt: call('int setsockopt(int, int, int, const void *, uint32_t)'),
  shutdown: call('int shutdown(int, int)'),
  socket: call('int socket(int, int, int)'),
  socketpair: call('int socketpair(int, int, int, _Out_ int *)'),
});

const declareMemory = (call: Declare) => ({
  madvise: call('int madvise(size_t, size_t, int)'),
  memcpy: call('size_t memcpy(size_t, size_t, size_t)'),
  memfd_create: call('int memfd_create(const char *, unsigned int)'),
  mmap: call('intptr_t mmap(size_t, size_t, int, int, int, int64_t)'),
  munmap: call('int munmap(size_t, size_t)'),
  process_vm_readv: call(
    'int64_t process_vm_readv(int, size_t, unsigned long, size_t, unsigned long, unsigned long)',
  ),
  process_vm_writev: call(
    'int64_t process_vm_writev(int, size_t, unsigned long, size_t, unsigned long, unsigned long)',
  ),
});

const declareTerminals = (call: Declare) => ({
  cfmakeraw: call('void cfmakeraw(_Inout_ void *)'),
  grantpt: call('int grantpt(int)'),
  posix_openpt: call('int posix_openpt(int)'),
  ptsname: call('const char *ptsname(int)'),
  tcgetattr: call('int tcgetattr(int, _Out_ void *)'),
  tcsetattr: call('int tcsetattr(int, int, void *)'),
  unlockpt: call('int unlockpt(int)'),
});

function declareProcessDescriptors(call: Declare): Pick<Libc, 'pidfd_open' | 'pidfd_getfd'> {
  const syscall: (number: number, one: number, two: number, three: number) => number = call(
    'long syscall(long, long, long, long)',
  );
  return {
    pidfd_open: (pid) => syscall(SYSCALL.pidfd_open, pid, 0, 0),
    pidfd_getfd: (pidfd, fd) => syscall(SYSCALL.pidfd_getfd, pidfd, fd, 0),
  };
}

const declareProcess = (call: Declare) => ({
  ...declareProcessDescriptors(call),
  _exit: call('void _exit(int)'),
  ptrace: call('long ptrace(long, long, size_t, size_t)'),
  prctl: call('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)'),
  sched_setaffinity: call('int sched_setaffinity(int, size_t, const void *)'),
  strerror: call('const char *strerror(int)'),
  waitpid: call('int waitpid(int, _Out_ int *, int)'),
});
