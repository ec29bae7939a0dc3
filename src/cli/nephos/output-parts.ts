import { existsSync, statSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { olderLog, type OutputPart } from '../../run/owner/output-log.ts';
import { codeOf } from '../../util/errno.ts';

/** Interval between two looks at a log that is followed, in milliseconds. */
const POLL_MS = 100;

/** Bytes that are read at a time. */
const READ_BYTES = 2 ** 18;

/** A part of the output, decoded. */
export interface DecodedPart {
  readonly time: string;
  readonly stream: OutputPart['stream'];
  readonly bytes: Buffer;
}

/** Options of {@link readParts}. */
export interface ReadOptions {
  /** Waits for further output while it returns true; without it the reading stops at the end of the log */
  readonly isOpen?: () => Promise<boolean>;
  /** Called once at the end of the log as it was when reading started */
  readonly onCaughtUp?: () => void;
}

/** Reads the parts of a log, the oldest first, across its rotation. Lines that are no parts are left out. */
export async function* readParts(path: string, options: ReadOptions = {}): AsyncGenerator<DecodedPart> {
  let file = await open(path, 'r');
  try {
    // the file that is open may become the older one meanwhile
    const older = await openOlder(path, file);
    if (older !== undefined) {
      await using handle = older;
      yield* partsOf(linesOf(handle, () => Promise.resolve(false)));
    }
    let isCaughtUp = false;
    for (;;) {
      let isLast = true;
      const goesOn = async (): Promise<boolean> => {
        if (!isCaughtUp) options.onCaughtUp?.();
        isCaughtUp = true;
        // before the look at the file: output of the last moment is read
        isLast = options.isOpen === undefined || !(await options.isOpen());
        if (isLast || (await isRotated(path, file))) return false;
        await delay(POLL_MS);
        return true;
      };
      yield* partsOf(linesOf(file, goesOn));
      if (!(await isRotated(path, file))) {
        if (isLast) return;
        continue;
      }
      await file.close();
      file = await open(path, 'r');
    }
  } finally {
    await file.close().catch(() => undefined);
  }
}

async function openOlder(path: string, current: FileHandle): Promise<FileHandle | undefined> {
  try {
    const older = await open(olderLog(path), 'r');
    if ((await older.stat()).ino !== (await current.stat()).ino) return older;
    await older.close();
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  return undefined;
}

async function isRotated(path: string, file: FileHandle): Promise<boolean> {
  if (!existsSync(path)) return false;
  return statSync(path).ino !== (await file.stat()).ino;
}

/** Reads whole lines; at the end of the file asks whether to go on. */
async function* linesOf(file: FileHandle, goesOn: () => Promise<boolean>): AsyncGenerator<string> {
  let rest = Buffer.alloc(0);
  const buffer = Buffer.alloc(READ_BYTES);
  let isLast = false;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, READ_BYTES);
    if (bytesRead === 0) {
      if (isLast) return;
      // again after the answer: the last output may be behind the last read
      isLast = !(await goesOn());
      continue;
    }
    rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      yield rest.toString('utf8', 0, end);
      rest = rest.subarray(end + 1);
    }
  }
}

async function* partsOf(lines: AsyncIterable<string>): AsyncGenerator<DecodedPart> {
  for await (const line of lines) {
    const part = decodePart(line);
    if (part !== undefined) yield part;
  }
}

/** Decodes a line of the log; undefined for one that was written in part. */
export function decodePart(line: string): DecodedPart | undefined {
  try {
    // the owner process writes the log
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const { time, stream, text, base64 } = JSON.parse(line) as Partial<OutputPart>;
    if (time === undefined || (stream !== 'stdout' && stream !== 'stderr')) return undefined;
    return { time, stream, bytes: Buffer.from(text ?? base64 ?? '', text === undefined ? 'base64' : 'utf8') };
  } catch {
    return undefined;
  }
}
