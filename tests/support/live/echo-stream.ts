/** Numbered lines that a guest sends back: a lost, repeated or changed byte in either direction is found. */
import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { until } from '../wait.ts';

/** Bytes of a line: eight digits and a newline. */
const LINE_BYTES = 9;

/** A stream of numbered lines to a guest and back. */
export interface EchoStream extends Disposable {
  /** Longest time between two arrivals since the last call, in milliseconds. */
  readonly takeLongestGap: () => number;
  /** Number of bytes that were sent back so far. */
  readonly received: () => number;
  /** Waits until more lines arrive; fails at the first wrong byte. */
  readonly flows: (lines?: number) => Promise<void>;
  /** Stops sending, waits for all that is on the way, closes the stream and fails unless all bytes were sent back in order. */
  readonly finish: () => Promise<void>;
}

interface EchoOptions {
  /** name of the stream, for errors */
  readonly name: string;
  /** time between two lines, in milliseconds */
  readonly intervalMs?: number;
  /** bytes on the way at most: a terminal in the guest has a buffer of 4 KiB */
  readonly windowBytes?: number;
}

/** Sends numbered lines into a stream whose other end returns each byte, from the next line of the stream on. */
export function startEcho(
  stream: Duplex,
  { name, intervalMs = 2, windowBytes = 1024 }: EchoOptions,
): EchoStream {
  let [lines, received, longestGap] = [0, 0, 0];
  let failure: string | undefined;
  let last = performance.now();
  const fail = (reason: string): void => void (failure ??= `${name}: ${reason}`);
  const take = (bytes: Buffer): void => {
    const now = performance.now();
    [longestGap, last] = [Math.max(longestGap, now - last), now];
    const expected = textAt(received, bytes.length);
    if (!bytes.equals(expected)) {
      fail(`after ${received} bytes came ${shown(bytes)}, not ${shown(expected)}`);
    }
    received += bytes.length;
  };
  const closed = (): void => fail(`was closed after ${received} bytes`);
  stream.on('data', take);
  stream.on('close', closed);
  stream.on('error', (error) => fail(error.message));
  const timer = setInterval(() => {
    if (lines * LINE_BYTES - received < windowBytes) stream.write(lineOf(lines++));
  }, intervalMs);
  const close = (): void => {
    clearInterval(timer);
    stream.off('close', closed);
    stream.destroy();
  };
  const arrive = async (bytes: number): Promise<void> => {
    await until(
      `${name}: ${bytes} bytes are back`,
      () => failure !== undefined || received >= bytes,
      () => `${received} bytes are back`,
    );
    assert.equal(failure, undefined);
  };
  return {
    takeLongestGap: () => {
      const gap = longestGap;
      longestGap = 0;
      return gap;
    },
    received: () => received,
    flows: (more = 20) => arrive(received + more * LINE_BYTES),
    finish: async () => {
      clearInterval(timer);
      try {
        await arrive(lines * LINE_BYTES);
        assert.equal(received, lines * LINE_BYTES, `${name}: more was sent back than was sent`);
      } finally {
        close();
      }
    },
    [Symbol.dispose]: close,
  };
}

function lineOf(number: number): string {
  return `${String(number).padStart(LINE_BYTES - 1, '0')}\n`;
}

/** Returns `length` bytes of the stream of all lines from a position on. */
function textAt(from: number, length: number): Buffer {
  const first = Math.floor(from / LINE_BYTES);
  const count = Math.ceil((from + length) / LINE_BYTES) - first;
  const text = Array.from({ length: count }, (_, i) => lineOf(first + i)).join('');
  return Buffer.from(text)
    .subarray(from - first * LINE_BYTES)
    .subarray(0, length);
}

function shown(bytes: Buffer): string {
  return JSON.stringify(bytes.subarray(0, 120).toString('latin1'));
}
