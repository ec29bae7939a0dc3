import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { SendStream, StreamSink } from '../api/route.ts';
import { reasonOf } from '../util/errno.ts';
import { createLog } from '../util/log.ts';

const log = createLog('http');

/** Most bytes of one write: bytes that were queued since the last one are sent together. */
const WRITE_BYTES_MAX = 64 * 1024;

/** Least time between two writes of a stream, in milliseconds: many events to many readers must not keep the VMM busy. */
const WRITE_INTERVAL_MS = 10;

/** A stream that is ready to be sent. */
export interface StreamReply {
  /** names and values in turn */
  readonly headers: readonly string[];
  readonly send: SendStream;
  /** Aborts when nothing more is to be queued */
  readonly signal: AbortSignal;
  /** Time for which the last bytes wait for the client, in milliseconds */
  readonly lastMs: () => number;
}

/**
 * Sends a stream: in chunks, or until the end of the connection to a client of HTTP/1.0. Settles when all is sent, the client has closed the
 * connection, or does not read the last bytes in time.
 */
export async function sendStream(response: ServerResponse, reply: StreamReply): Promise<void> {
  const { headers, send, signal, lastMs } = reply;
  response.sendDate = false;
  response.writeHead(200, '', [...headers]);
  response.flushHeaders();
  const sink = createSink(response);
  try {
    if (!signal.aborted) await send(sink, signal);
  } catch (error) {
    log.error(`A stream ended early: ${reasonOf(error)}`);
  }
  const timer = new AbortController();
  const late = delay(lastMs(), undefined, { signal: timer.signal }).catch(() => undefined);
  await Promise.race([sink.close(), late]);
  timer.abort();
}

interface ClosableSink extends StreamSink {
  /** Ends the answer; settles when all is sent, or the connection is closed. */
  readonly close: () => Promise<void>;
}

/** Returns a queue in front of a response. The response itself gets one write at a time, so that the rest can be dropped. */
function createSink(response: ServerResponse): ClosableSink {
  let queue: Uint8Array[] = [];
  let queuedBytes = 0;
  let isBlocked = false;
  let isClosing = false;
  const flush = (): void => {
    while (queue.length > 0 && !isBlocked && !response.destroyed) {
      const batch = takeBatch(queue);
      queuedBytes -= batch.length;
      isBlocked = !response.write(batch);
    }
    if (isClosing && queue.length === 0) response.end();
  };
  const schedule = createSchedule(flush);
  response.on('drain', () => {
    isBlocked = false;
    flush();
  });
  return {
    get queuedBytes() {
      return queuedBytes + response.writableLength;
    },
    write: (bytes) => {
      if (response.destroyed || isClosing) return;
      queue.push(bytes);
      queuedBytes += bytes.length;
      if (!isBlocked) schedule();
    },
    discard: () => {
      queue = [];
      queuedBytes = 0;
    },
    close: () => {
      isClosing = true;
      schedule();
      return new Promise((resolve) => {
        if (response.destroyed) resolve();
        response.once('finish', resolve);
        response.once('close', resolve);
      });
    },
  };
}

/** Returns a function that runs `flush` once, in the next turn of the event loop or when the interval since the last run is over. */
function createSchedule(flush: () => void): () => void {
  let isScheduled = false;
  let last = -Infinity;
  const run = (): void => {
    isScheduled = false;
    last = performance.now();
    flush();
  };
  return () => {
    if (isScheduled) return;
    isScheduled = true;
    const wait = last + WRITE_INTERVAL_MS - performance.now();
    if (wait <= 0) setImmediate(run);
    else setTimeout(run, wait);
  };
}

/** Removes the first bytes of a queue, as many whole pieces as one write may have. */
function takeBatch(queue: Uint8Array[]): Uint8Array {
  let count = 0;
  let bytes = 0;
  for (const piece of queue) {
    if (count > 0 && bytes + piece.length > WRITE_BYTES_MAX) break;
    count += 1;
    bytes += piece.length;
  }
  const pieces = queue.splice(0, count);
  return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
}
