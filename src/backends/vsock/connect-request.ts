import { libc } from '../../native/libc.ts';
import { type Block } from '../../native/memory.ts';
import { EAGAIN, errno } from '../../native/system-error.ts';
import { MSG_PEEK } from '../../native/unix-socket.ts';

/** Longest CONNECT line, in bytes. */
const MAX_LINE_BYTES = 32;

const LINE = /^connect[ \t]+(\d{1,10})[ \t]*\r?\n$/i;

/**
 * Reads the first line of a program of the host, `CONNECT <port>`, and no byte behind it.
 * @returns the guest's port; 'more' where the line is not whole yet, 'wrong' where it cannot become one
 */
export function readConnectLine(fd: number, block: Block): number | 'more' | 'wrong' {
  const count = libc().recv(fd, block.address, MAX_LINE_BYTES, MSG_PEEK);
  if (count <= 0) return count < 0 && errno() === EAGAIN ? 'more' : 'wrong';
  const text = Buffer.from(block.view.buffer, block.view.byteOffset, count).toString('latin1');
  const end = text.indexOf('\n');
  if (end < 0) return count < MAX_LINE_BYTES ? 'more' : 'wrong';
  libc().recv(fd, block.address, end + 1, 0);
  return parseConnectLine(text.slice(0, end + 1)) ?? 'wrong';
}

/** Returns the port of a CONNECT line; undefined where it is none. */
export function parseConnectLine(line: string): number | undefined {
  const port = Number(LINE.exec(line)?.[1] ?? NaN);
  return port < 2 ** 32 ? port : undefined;
}
