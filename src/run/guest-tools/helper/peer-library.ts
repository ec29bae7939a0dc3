import { sharedObject } from '../machine-code/shared-object.ts';

/*
 * Library that dropbear loads before the C library (LD_PRELOAD):
 *
 *   `getpeername`, `getsockname`   give 127.0.0.1 port 0: `dropbear -i` requires a socket of the Internet, and runs on a terminal
 *   kill                       sends a signal to the process group of a process, if it leads one: a `signal` request (RFC 4254, 6.9)
 *                              then reaches all processes of a command
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

/** Links the library. */
export function linkPeerLibrary(): Buffer {
  const address = Buffer.from(ADDRESS_OF_SOCKET.flat());
  return sharedObject(
    new Map([
      ['getpeername', address],
      ['getsockname', address],
      ['kill', Buffer.from(KILL_GROUP.flat())],
    ]),
  );
}
