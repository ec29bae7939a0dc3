/*
 * Numbers of system calls that are made without a function of the C library: those that it lacks, and those that it applies to all
 * threads of the process (`setgroups`) where a server needs them for its own thread alone.
 */

interface SyscallNumbers {
  readonly capget: number;
  readonly capset: number;
  readonly getdents64: number;
  readonly io_destroy: number;
  readonly io_getevents: number;
  readonly io_setup: number;
  readonly io_submit: number;
  readonly openat2: number;
  readonly pidfd_getfd: number;
  readonly pidfd_open: number;
  readonly setfsgid: number;
  readonly setfsuid: number;
  readonly setgroups: number;
}

/** arch/x86/entry/syscalls/syscall_64.tbl */
const X86_64: SyscallNumbers = {
  capget: 125,
  capset: 126,
  getdents64: 217,
  io_destroy: 207,
  io_getevents: 208,
  io_setup: 206,
  io_submit: 209,
  openat2: 437,
  pidfd_getfd: 438,
  pidfd_open: 434,
  setfsgid: 123,
  setfsuid: 122,
  setgroups: 116,
};

/** include/uapi/asm-generic/unistd.h */
const ARM64: SyscallNumbers = {
  capget: 90,
  capset: 91,
  getdents64: 61,
  io_destroy: 1,
  io_getevents: 4,
  io_setup: 0,
  io_submit: 2,
  openat2: 437,
  pidfd_getfd: 438,
  pidfd_open: 434,
  setfsgid: 152,
  setfsuid: 151,
  setgroups: 159,
};

/** Numbers of this machine's architecture. */
export const SYSCALL: SyscallNumbers = process.arch === 'arm64' ? ARM64 : X86_64;
