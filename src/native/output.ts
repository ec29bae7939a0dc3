import { fstatSync } from 'node:fs';
import { createByteQueue, dropOldest, type ByteQueue } from '../util/byte-queue.ts';
import { deferred } from '../util/deferred.ts';
import { createDrain } from '../util/drain.ts';
import { openWriter, type Take } from './output-writer.ts';

/** Delay before a write to a full output is retried, in milliseconds: short while it is read, then doubled each time. */
const RETRY_MS = { first: 1, last: 100 };

/** Most bytes written in one turn of the event loop: a fast reader must not starve other work. */
const AT_ONCE_BYTES = 2 ** 18;

/** Pause after a failed write (the reader has closed its end), in milliseconds: each failure costs time. */
const FAILED_MS = 100;

/**
 * An inherited or opened file descriptor that is written without ever blocking: a terminal stopped with Ctrl-S and an
 * unread pipe block nothing. O_NONBLOCK is never set on the descriptor: its open file description may be shared,
 * with the user's shell for instance.
 */
export interface Output {
  /** Writes as many bytes as the descriptor takes now and queues the rest. The caller bounds the queue by {@link Output.queued}. */
  readonly write: (bytes: Uint8Array) => void;
  /** Size of the queue, in bytes. */
  readonly queued: () => number;
  /** Removes the oldest bytes of the queue beyond `most`. */
  readonly dropBeyond: (most: number) => void;
  /** Calls `resume` once, when the queue has at most `most` bytes. */
  readonly onDrain: (most: number, resume: () => void) => void;
  /** Settles when writing can begin. */
  readonly ready: Promise<void>;
  /** Accepts no more bytes, and releases the descriptor as soon as the queue is written; {@link flushOutputs} waits for that. */
  readonly close: () => void;
}

/** Outputs that are flushed before the process exits. */
const outputs = new Set<Output>();

/** Ownership of the descriptor. */
export interface OutputOptions {
  /** called once, after the last write: closes the descriptor where the output owns it */
  readonly release?: () => void;
}

/**
 * Creates an output on a descriptor.
 * @throws where the descriptor is not open
 */
export function createOutput(fd: number, options: OutputOptions = {}): Output {
  const writer = openWriter(fd, fstatSync(fd));
  const queue = createByteQueue();
  let timer: NodeJS.Timeout | undefined;
  let pause = RETRY_MS.first;
  let failedUntil = 0;
  let isClosed = false;
  const drain = createDrain();

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    try {
      if (writeQueue(queue, writer.take) > 0) pause = RETRY_MS.first;
    } catch {
      // the reader has closed its end; a FIFO may get another reader
      failedUntil = performance.now() + FAILED_MS;
      queue.drop(queue.length());
    }
    if (queue.length() > 0) {
      timer = setTimeout(flush, pause).unref();
      pause = Math.min(pause * 2, RETRY_MS.last);
    } else if (isClosed) {
      release();
    }
    drain.check(queue.length());
  };
  const release = (): void => {
    outputs.delete(output);
    writer.close();
    options.release?.();
  };
  const output: Output = {
    write: (bytes) => {
      if (isClosed || (failedUntil > 0 && performance.now() < failedUntil)) return;
      queue.push(bytes);
      if (timer === undefined) flush();
    },
    queued: queue.length,
    ready: writer.ready.then(() => (queue.length() > 0 ? flush() : undefined)),
    dropBeyond: (most) => void dropOldest(queue, most),
    onDrain: drain.wait,
    close: () => {
      if (isClosed) return;
      isClosed = true;
      if (timer === undefined) release();
    },
  };
  outputs.add(output);
  return output;
}

/** Writes as many bytes as the descriptor takes now. @returns their number */
function writeQueue(queue: ByteQueue, take: Take): number {
  let done = 0;
  while (done < AT_ONCE_BYTES && queue.length() > 0) {
    const taken = take(queue.front());
    if (taken === 0) break;
    queue.drop(taken);
    done += taken;
  }
  return done;
}

/** Waits until all outputs have written what is queued, at most `ms` milliseconds after all can write. */
export async function flushOutputs(ms: number): Promise<void> {
  await Promise.all([...outputs].map(({ ready }) => ready));
  const done = deferred<void>();
  const end = performance.now() + ms;
  const check = (): void => {
    const isQueued = [...outputs].some((output) => output.queued() > 0);
    if (!isQueued || performance.now() >= end) done.resolve();
    else setTimeout(check, RETRY_MS.first);
  };
  check();
  await done.promise;
}
