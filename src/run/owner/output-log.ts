import { isUtf8 } from 'node:buffer';
import { renameSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { callbackify } from 'node:util';

/*
 * Log of a command's output, `output.jsonl`: a line of JSON for each part, for `nephos logs`. Where the file would be longer than
 * LOG_BYTES_MAX it is renamed to `output.jsonl.1`, which replaces the one before it: the log has the last bytes of the output, at most
 * twice as many.
 */

/** Longest file of a log, in bytes. */
const LOG_BYTES_MAX = 16 * 2 ** 20;

/** Longest part in bytes: a line of JSON is read as a whole. */
const PART_BYTES = 2 ** 16;

/** A part of a command's output. */
export interface OutputPart {
  /** ISO 8601 */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** bytes that are UTF-8 */
  readonly text?: string;
  /** other bytes */
  readonly base64?: string;
}

/** A log that is written. */
export interface OutputLog extends AsyncDisposable {
  /** Returns a stream whose bytes are written to the log. */
  readonly stream: (name: OutputPart['stream']) => Writable;
}

/** Returns the path of the older part of a log. */
export function olderLog(path: string): string {
  return `${path}.1`;
}

/** Creates a log. Its file has mode 0600. */
export async function createOutputLog(path: string, maximum = LOG_BYTES_MAX): Promise<OutputLog> {
  let file = await open(path, 'a', 0o600);
  let length = (await file.stat()).size;
  const write = async (stream: OutputPart['stream'], bytes: Buffer): Promise<void> => {
    for (const line of linesOf(stream, bytes)) {
      if (length > 0 && length + line.length > maximum) {
        file = await rotate(file, path);
        length = 0;
      }
      await file.appendFile(line);
      length += line.length;
    }
  };
  // one write at a time, in the order of the calls
  let last: Promise<unknown> = Promise.resolve();
  const queue = (stream: OutputPart['stream'], bytes: Buffer): Promise<unknown> => {
    last = last.catch(() => undefined).then(() => write(stream, bytes));
    return last;
  };
  return {
    stream: (name) => {
      // a full disk must not end the command
      const write = callbackify((bytes: Buffer) => queue(name, bytes).catch(() => undefined));
      return new Writable({
        write: (bytes: Buffer, _encoding, done) => write(bytes, () => done()),
      });
    },
    [Symbol.asyncDispose]: async () => {
      await last.catch(() => undefined);
      await file.close();
    },
  };
}

async function rotate(file: FileHandle, path: string): Promise<FileHandle> {
  await file.close();
  renameSync(path, olderLog(path));
  return open(path, 'a', 0o600);
}

function linesOf(stream: OutputPart['stream'], bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += PART_BYTES) {
    const part = bytes.subarray(at, at + PART_BYTES);
    const content = isUtf8(part) ? { text: part.toString() } : { base64: part.toString('base64') };
    const line: OutputPart = { time: new Date().toISOString(), stream, ...content };
    lines.push(Buffer.from(`${JSON.stringify(line)}\n`));
  }
  return lines;
}
