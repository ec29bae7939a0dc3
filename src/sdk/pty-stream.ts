import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { ReadStream } from 'node:tty';

/** Delay before the next write to a full terminal, in milliseconds. */
const RETRY_MS = 5;

/**
 * Number of bytes in one write. Deno's `writeSync` repeats the write until all bytes are written, and does not return a partial
 * count if the terminal is full. It gets single bytes.
 */
const PIECE_BYTES = 'Deno' in globalThis ? 1 : 65_536;

/**
 * Opens a PTY as a stream. Node's `tty.ReadStream` is read-only in other runtimes (Bun, Deno), so writes use a non-blocking
 * descriptor of their own. The stream is destroyed when the master of the PTY is closed.
 */
export function openPtyStream(path: string): Duplex {
  const input = new ReadStream(openSync(path, constants.O_RDWR | constants.O_NOCTTY));
  let output: number | undefined;
  try {
    output = openSync(path, constants.O_WRONLY | constants.O_NOCTTY | constants.O_NONBLOCK);
  } catch (error) {
    input.destroy();
    throw error;
  }
  let timer: NodeJS.Timeout | undefined;
  const writeAll = (bytes: Buffer, done: (error?: Error | null) => void): void => {
    try {
      const rest = output === undefined ? bytes : bytes.subarray(writeSome(output, bytes));
      if (rest.length === 0) return done();
      timer = setTimeout(writeAll, RETRY_MS, rest, done);
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error), { cause: error }));
    }
  };
  const stream = new Duplex({
    read: () => void input.resume(),
    write: (bytes: Buffer, _encoding, done) => writeAll(bytes, done),
    destroy: (error, done) => {
      clearTimeout(timer);
      input.destroy();
      if (output !== undefined) closeSync(output);
      output = undefined;
      done(error);
    },
  });
  input.on('data', (bytes: Buffer) => {
    if (!stream.push(bytes)) input.pause();
  });
  // after the exit of the VMM the PTY reports an error or the end of file, depending on the runtime
  for (const event of ['error', 'end', 'close']) input.on(event, () => void stream.destroy());
  return stream;
}

/** Writes until the terminal is full. @returns the number of written bytes */
function writeSome(fd: number, bytes: Buffer): number {
  let done = 0;
  try {
    while (done < bytes.length) done += writeSync(fd, bytes.subarray(done, done + PIECE_BYTES));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
  }
  return done;
}
