import { isUtf8 } from 'node:buffer';
import { renameSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { callbackify } from 'node:util';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('run');

/*
 * Log of a command's output, `output.jsonl`: a line of JSON for each part, for `nephos logs`. Where the file would be longer than
 * LOG_BYTES_MAX it is renamed to `output.jsonl.1`, which replaces the one before it: the log has the last bytes of the output, at most
 * twice as many.
 *
 * A run goes on without its log: output that cannot be written, on a full disk for example, is missing in it. Each line is whole.
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

/** Creates a log. Its file has mode 0600. One that cannot be opened, or written, is reported once. */
export function createOutputLog(path: string, maximum = LOG_BYTES_MAX): OutputLog {
  const file = createLogFile(path, maximum);
  let isReported = false;
  const report = (error: unknown): void => {
    if (!isReported) log.warn(`${path}: the output is not recorded: ${reasonOf(error)}`);
    isReported = true;
  };
  // one write at a time, in the order of the calls; the file exists before the first output
  let last: Promise<unknown> = file.open().catch(report);
  const queue = (stream: OutputPart['stream'], bytes: Buffer): Promise<unknown> => {
    last = last.then(() => file.append(linesOf(stream, bytes))).catch(report);
    return last;
  };
  return {
    stream: (name) => {
      const write = callbackify((bytes: Buffer) => queue(name, bytes));
      return new Writable({
        write: (bytes: Buffer, _encoding, done) => write(bytes, () => done()),
      });
    },
    [Symbol.asyncDispose]: async () => {
      await last;
      await file.close();
    },
  };
}

interface LogFile {
  /** Opens the file where it is not open. */
  readonly open: () => Promise<OpenFile>;
  /** Appends whole lines. Rejects with the system's error */
  readonly append: (lines: readonly Buffer[]) => Promise<void>;
  readonly close: () => Promise<void>;
}

interface OpenFile {
  readonly handle: FileHandle;
  length: number;
}

function createLogFile(path: string, maximum: number): LogFile {
  let current: OpenFile | undefined;
  const open = async (): Promise<OpenFile> => (current ??= await openFile(path));
  const close = async (): Promise<void> => {
    const { handle } = current ?? {};
    current = undefined;
    await handle?.close();
  };
  const appendLine = async (line: Buffer): Promise<void> => {
    let file = await open();
    if (file.length > 0 && file.length + line.length > maximum) {
      await close();
      renameSync(path, olderLog(path));
      file = await open();
    }
    try {
      await file.handle.appendFile(line);
      file.length += line.length;
    } catch (error) {
      // the part of the line that had space
      await file.handle.truncate(file.length).catch(() => undefined);
      throw error;
    }
  };
  return {
    open,
    append: async (lines) => {
      for (const line of lines) await appendLine(line);
    },
    close,
  };
}

async function openFile(path: string): Promise<OpenFile> {
  const handle = await open(path, 'a', 0o600);
  return { handle, length: (await handle.stat()).size };
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
