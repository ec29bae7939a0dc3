import { once } from 'node:events';
import type { Duplex } from 'node:stream';

/*
 * First bytes of an SSH server: its identification line and its KEXINIT packet (RFC 4253, 4.2 and 7.1). A server sends them before it reads
 * anything. A snapshot has a server that has sent them, so a client of a restored guest gets the recorded ones.
 */

const BANNER = Buffer.from('SSH-2.0-');
const LINE_FEED = 0x0a;

/** Longest identification line, in bytes (RFC 4253, 4.2). */
const LINE_MAX = 255;

/** Largest packet, in bytes (RFC 4253, 6.1). */
const PACKET_MAX = 35_000;

/** Size of the length of a packet, in bytes. */
const LENGTH_BYTES = 4;

const KEXINIT = 20;

/**
 * Returns the length of the greeting at the start of `bytes`; undefined where bytes are missing.
 * @throws for bytes that are no greeting of an SSH server
 */
export function greetingLength(bytes: Buffer): number | undefined {
  const start = bytes.subarray(0, BANNER.length);
  if (!BANNER.subarray(0, start.length).equals(start)) throw new Error('it does not send an SSH banner');
  const end = bytes.indexOf(LINE_FEED);
  if (end > LINE_MAX || (end < 0 && bytes.length > LINE_MAX)) throw new Error('its SSH banner is too long');
  const packet = end + 1;
  if (end < 0 || bytes.length < packet + LENGTH_BYTES + 2) return undefined;
  const length = bytes.readUInt32BE(packet);
  if (length > PACKET_MAX || bytes[packet + LENGTH_BYTES + 1] !== KEXINIT)
    throw new Error('its first packet is no KEXINIT');
  const total = packet + LENGTH_BYTES + length;
  return bytes.length < total ? undefined : total;
}

/**
 * Reads the greeting of a server to its end. The bytes stay in the stream.
 * @throws where the server sends something else, or more, before it has received anything; or the stream ends
 */
export async function recordGreeting(stream: Duplex, signal: AbortSignal): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  for (;;) {
    const part: unknown = stream.read();
    if (part instanceof Buffer) bytes = Buffer.concat([bytes, part]);
    const length = greetingLength(bytes);
    if (length !== undefined) {
      stream.unshift(bytes);
      if (length !== bytes.length) throw new Error('it sends more than its greeting');
      return bytes;
    }
    if (stream.readableEnded || stream.destroyed) throw new Error('the stream ended');
    if (part === null) await readableOrEnded(stream, signal);
  }
}

/** Waits until a stream has bytes or has ended. Rejects on abort. */
async function readableOrEnded(stream: Duplex, signal: AbortSignal): Promise<void> {
  const done = new AbortController();
  const limit = { signal: AbortSignal.any([signal, done.signal]) };
  const events = ['readable', 'end', 'close'].map((event) => once(stream, event, limit));
  try {
    await Promise.race(events);
  } finally {
    done.abort();
    await Promise.allSettled(events);
  }
}
