import { sharedObject } from '../machine-code/shared-object.ts';

/*
 * Library that dropbear loads before the C library (LD_PRELOAD):
 *
 *   `getpeername`, `getsockname`   give 127.0.0.1 port 0: `dropbear -i` requires a socket of the Internet, and runs on a virtio-serial port
 *   kill                       sends a signal to the process group of a process, if it leads one: a `signal` request (RFC 4254, 6.9)
 *                              then reaches all processes of a command
 *   `signal`                   sets no handler, only `SIG_IGN` and `SIG_DFL`: a child of dropbear has its handlers until it executes its program,
 *                              and dropbear's handler of SIGINT and SIGTERM lost the signals of a client in this time
 *   `waitpid`                  turns the end by a signal that SSH has no name for (RFC 4254, 6.10) into the exit code 128 + its number, as shells
 *                              do: dropbear reports no exit at all otherwise
 */

const ADDRESS_OF_SOCKET = [
  [0x66, 0xc7, 0x06, 0x02, 0x00], // `mov word [rsi], AF_INET`
  [0x66, 0xc7, 0x46, 0x02, 0x00, 0x00], // `mov word [rsi + 2], 0`
  [0xc7, 0x46, 0x04, 0x7f, 0x00, 0x00, 0x01], // `mov dword [rsi + 4], 127.0.0.1`
  [0x48, 0xc7, 0x46, 0x08, 0x00, 0x00, 0x00, 0x00], // `mov qword [rsi + 8], 0`
  [0xc7, 0x02, 0x10, 0x00, 0x00, 0x00], // `mov dword [rdx], 16`
  [0x31, 0xc0, 0xc3], // `xor eax, eax; ret`
];

const KILL_GROUP = [
  [0x57], // `push rdi`
  [0x48, 0x63, 0xff, 0x48, 0xf7, 0xdf], // `movsxd rdi, edi; neg rdi`
  [0xb8, 0x3e, 0x00, 0x00, 0x00, 0x0f, 0x05], // `kill`
  [0x5f], // `pop rdi`
  [0x85, 0xc0, 0x79, 0x0e], // `test eax, eax; jns done`
  [0xb8, 0x3e, 0x00, 0x00, 0x00, 0x0f, 0x05], // `kill`
  [0x85, 0xc0, 0x79, 0x03], // `test eax, eax; jns done`
  [0x83, 0xc8, 0xff], // `or eax, -1`
  [0xc3], // `done: ret`
];

const SET_DISPOSITION = [
  [0x48, 0x83, 0xfe, 0x01, 0x77, 0x2f], // `cmp rsi, SIG_IGN; ja done`
  [0x48, 0x83, 0xec, 0x20], // `sub rsp, 32`: a struct of the kernel: handler, flags, restorer, mask
  [0x48, 0x89, 0x34, 0x24, 0x31, 0xc0], // `mov [rsp], rsi; xor eax, eax`
  [0x48, 0x89, 0x44, 0x24, 0x08], // `mov [rsp + 8], rax`
  [0x48, 0x89, 0x44, 0x24, 0x10], // `mov [rsp + 16], rax`
  [0x48, 0x89, 0x44, 0x24, 0x18], // `mov [rsp + 24], rax`
  [0x48, 0x89, 0xe6, 0x31, 0xd2], // `mov rsi, rsp; xor edx, edx`
  [0x41, 0xba, 0x08, 0x00, 0x00, 0x00], // `mov r10d, 8`
  [0xb8, 0x0d, 0x00, 0x00, 0x00, 0x0f, 0x05], // `rt_sigaction`
  [0x48, 0x83, 0xc4, 0x20], // `add rsp, 32`
  [0x31, 0xc0, 0xc3], // `done: xor eax, eax; ret`: SIG_DFL
];

/** Signals that dropbear reports by name: ABRT, ALRM, FPE, HUP, ILL, INT, KILL, PIPE, QUIT, SEGV, TERM, USR1, USR2 */
const NAMED_SIGNALS = [6, 14, 8, 1, 4, 2, 9, 13, 3, 11, 15, 10, 12].reduce(
  (mask, number) => mask | (1 << number),
  0,
);

const [W, X, Y, Z] = [0, 8, 16, 24].map((shift) => (NAMED_SIGNALS >>> shift) & 0xff);

const WAIT = [
  [0x45, 0x31, 0xd2], // `xor r10d, r10d`
  [0x48, 0x63, 0xff], // `movsxd rdi, edi`
  [0xb8, 0x3d, 0x00, 0x00, 0x00, 0x0f, 0x05], // `wait4`
  [0x85, 0xc0, 0x7f, 0x06], // `test eax, eax; jg ended`
  [0x74, 0x03, 0x83, 0xc8, 0xff], // `jz done; or eax, -1`
  [0xc3], // `done: ret`
  [0x8b, 0x0e, 0x83, 0xe1, 0x7f], // `ended: mov ecx, [rsi]; and ecx, 0x7f`
  [0x74, 0x1a], // `jz exited`
  [0x83, 0xf9, 0x1f, 0x77, 0x0a], // `cmp ecx, 31; ja unnamed`
  [0xba, W ?? 0, X ?? 0, Y ?? 0, Z ?? 0], // `mov edx, NAMED_SIGNALS`
  [0x0f, 0xa3, 0xca, 0x72, 0x0b], // `bt edx, ecx; jc exited`
  [0x81, 0xc1, 0x80, 0x00, 0x00, 0x00], // `unnamed: add ecx, 128`
  [0xc1, 0xe1, 0x08, 0x89, 0x0e], // `shl ecx, 8; mov [rsi], ecx`
  [0xc3], // `exited: ret`
];

/** Links the library. */
export function linkPeerLibrary(): Buffer {
  const address = Buffer.from(ADDRESS_OF_SOCKET.flat());
  return sharedObject(
    new Map([
      ['getpeername', address],
      ['getsockname', address],
      ['kill', Buffer.from(KILL_GROUP.flat())],
      ['signal', Buffer.from(SET_DISPOSITION.flat())],
      ['waitpid', Buffer.from(WAIT.flat())],
    ]),
  );
}
