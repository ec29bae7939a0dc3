import { fstatSync } from 'node:fs';
import { Writable } from 'node:stream';
import { openWriter } from '../../native/output-writer.ts';

/** Delay before a write to a full descriptor is retried, in milliseconds. */
const RETRY_MS = 1;

/**
 * Returns a stream that writes to a descriptor of this process without blocking, whatever its kind is. Node's own streams block the event
 * loop while the reader of a pipe or a terminal is stopped. A closed reader is the error EPIPE. The descriptor stays open.
 */
export function openDescriptorSink(fd: number): Writable {
  // takes no bytes until it is ready
  const writer = openWriter(fd, fstatSync(fd));
  let timer: NodeJS.Timeout | undefined;
  const writeRest = (bytes: Buffer, done: (error?: Error) => void): void => {
    let rest = bytes;
    try {
      while (rest.length > 0) {
        const taken = writer.take(rest);
        if (taken === 0) {
          timer = setTimeout(() => writeRest(rest, done), RETRY_MS);
          return;
        }
        rest = rest.subarray(taken);
      }
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error), { cause: error }));
    }
  };
  return new Writable({
    // a part of the guest's output at a time
    highWaterMark: 2 ** 18,
    write: (bytes: Buffer, _encoding, done) => writeRest(bytes, done),
    destroy: (error, done) => {
      clearTimeout(timer);
      writer.close();
      done(error);
    },
  });
}
