import { systemError } from '../util/errno.ts';
import type { Native } from './load.ts';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM } from './socket-address.ts';

/**
 * Opens two connected sockets: one end for this process, one for a child.
 * @throws the system's error
 */
export function openSocketPair({ koffi, libc }: Native): readonly [own: number, childs: number] {
  const socketpair = libc.func('int socketpair(int, int, int, _Out_ void *)');
  const pair = Buffer.alloc(8);
  const result: unknown = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
  if (result !== 0) throw systemError('socketpair', koffi.errno());
  return [pair.readInt32LE(0), pair.readInt32LE(4)];
}
