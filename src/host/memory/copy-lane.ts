import { read, write } from 'node:fs';
import type { Extent } from './extents.ts';

/** Is called once, with the error, or with null. */
export type Done = (error: Error | null) => void;

/** Bytes of a file, and a buffer for them. */
export interface FileBytes {
  readonly fd: number;
  readonly bytes: Buffer;
  /** offset in the file, in `bytes` */
  readonly position: number;
}

/** Reads bytes of a file on a thread of the pool. Fails where the file ends before. */
export function readBytes(from: FileBytes, done: Done): void {
  transfer(read, from, done);
}

/** Writes bytes to a file on a thread of the pool. */
export function writeBytes(to: FileBytes, done: Done): void {
  transfer(write, to, done);
}

/** `read` or `write` of node:fs. */
type FileCall = (
  fd: number,
  bytes: Buffer,
  offset: number,
  ...rest: [
    length: number,
    position: number,
    done: (error: NodeJS.ErrnoException | null, count: number) => void,
  ]
) => void;

function transfer(call: FileCall, { fd, bytes, position }: FileBytes, done: Done): void {
  const continueAt = (at: number): void =>
    call(fd, bytes, at, bytes.length - at, position + at, (error, count) => {
      if (error !== null) done(error);
      else if (at + count === bytes.length) done(null);
      else if (count === 0) done(new Error('memory ended before it was read'));
      else continueAt(at + count);
    });
  continueAt(0);
}

/** Steps of a copy of chunks. */
export interface LaneSteps {
  /** Returns the next chunk; undefined at the end. */
  readonly next: () => Extent | undefined;
  /** Reads a chunk into a buffer of its length. */
  readonly read: (chunk: Extent, bytes: Buffer, done: Done) => void;
  /** Returns the runs of the buffer to write. */
  readonly select: (chunk: Extent, bytes: Buffer) => readonly Extent[];
  /** Writes bytes to an offset. */
  readonly write: (offset: number, bytes: Buffer, done: Done) => void;
  /** Is called when a chunk is copied. */
  readonly finish: (chunk: Extent) => void;
}

/**
 * Copies chunks one after another through a buffer, which has the length of the longest one. Rejects with the first error.
 *
 * A copy with promises takes a third more time of the processors.
 */
export function runLane(buffer: Buffer, steps: LaneSteps): Promise<void> {
  return new Promise((resolve, reject) => {
    // an error thrown in a callback of Node would end the process
    const after =
      (step: () => void): Done =>
      (error) => {
        if (error !== null) return reject(error);
        try {
          step();
        } catch (thrown) {
          reject(thrown);
        }
      };
    const copyNext = after(() => {
      const chunk = steps.next();
      if (chunk === undefined) return resolve();
      const bytes = buffer.subarray(0, chunk.length);
      let runs: readonly Extent[] = [];
      let written = 0;
      const writeNext = after(() => {
        const run = runs[written++];
        if (run === undefined) {
          steps.finish(chunk);
          return copyNext(null);
        }
        const { offset, length } = run;
        steps.write(chunk.offset + offset, bytes.subarray(offset, offset + length), writeNext);
      });
      const selectRuns = after(() => {
        runs = steps.select(chunk, bytes);
        writeNext(null);
      });
      steps.read(chunk, bytes, selectRuns);
    });
    copyNext(null);
  });
}
