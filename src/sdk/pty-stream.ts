import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { ReadStream } from 'node:tty';

/** A full terminal is tried again after this time, in milliseconds. */
const RETRY_MS = 5;

/**
 * How many bytes are written at once. Deno's `writeSync` repeats the write until all bytes are taken, and does not tell how many
 * were where the terminal is full: single bytes are taken or not.
 */
const PIECE_BYTES = 'Deno' in globalThis ? 1 : 65_536;

/**
 * Opens a PTY as a stream. Node's `tty.ReadStream` reads only in other runtimes (Bun, Deno): what is written goes to a
 * descriptor of its own, which never blocks. The stream is destroyed when the PTY's master is closed.
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
      done(error instanceof Error ? error : new Error(String(error)));
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
  // the end of the VMM is an error of the PTY here, its end there
  for (const event of ['error', 'end', 'close']) input.on(event, () => void stream.destroy());
  return stream;
}

/** @returns the number of bytes that were taken until the terminal was full */
function writeSome(fd: number, bytes: Buffer): number {
  let done = 0;
  try {
    while (done < bytes.length) done += writeSync(fd, bytes.subarray(done, done + PIECE_BYTES));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
  }
  return done;
}
