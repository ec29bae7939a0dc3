import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { ReadStream } from 'node:tty';

/** A full terminal is tried again after this time, in milliseconds. */
const RETRY_MS = 5;

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

/** @returns the number of bytes that were taken, 0 where the terminal is full */
function writeSome(fd: number, bytes: Buffer): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return 0;
    throw error;
  }
}
