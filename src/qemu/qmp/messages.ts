import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { descriptorOf } from '../../native/unix-socket.ts';
import { codeOf } from '../../util/errno.ts';

/** A QMP message: a JSON object on a line of its own. */
export type QmpMessage = Readonly<Record<string, unknown>>;

/** Limit for one message, in characters; messages of QEMU are far shorter. */
const MESSAGE_MAX = 64 * 2 ** 20;

/** Reads messages from QEMU. A line that is no JSON object, or too long, destroys the stream. */
export function readMessages(stream: Duplex, take: (message: QmpMessage) => void): void {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  stream.on('data', (bytes: Buffer) => {
    const lines = (rest + decoder.write(bytes)).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MESSAGE_MAX) {
      stream.destroy(new Error('QEMU sent a message that is too long'));
      return;
    }
    for (const line of lines) {
      if (line.trim() === '') continue;
      const message = parse(line);
      if (message === undefined) {
        stream.destroy(new Error(`QEMU sent a line that is no QMP message: ${line.slice(0, 80)}`));
        return;
      }
      take(message);
    }
  });
}

/**
 * Sends one message. A QEMU that has exited is no error of a write: Node would destroy the stream, and with it the unread events, which
 * have the reason of the exit. The end of the stream reports the exit.
 */
export function writeMessage(stream: Duplex, message: QmpMessage): void {
  const bytes = encodeMessage(message);
  const written = stream instanceof Socket && stream.writableLength === 0 ? writeNow(stream, bytes) : 0;
  if (written < bytes.length) stream.write(bytes.subarray(written));
}

/** Errors of a write to a socket that the peer has closed. */
const CLOSED: readonly (string | undefined)[] = ['EPIPE', 'ECONNRESET'];

/** Writes bytes without waiting. @returns the number of bytes that Node need not write */
function writeNow(socket: Socket, bytes: Buffer): number {
  try {
    return writeSync(descriptorOf(socket), bytes);
  } catch (error) {
    return CLOSED.includes(codeOf(error)) ? bytes.length : 0;
  }
}

/** Returns the bytes of a message. */
export function encodeMessage(message: QmpMessage): Buffer {
  return Buffer.from(`${JSON.stringify(message)}\n`);
}

function parse(line: string): QmpMessage | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isMessage(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Returns true if a JSON value is an object. */
export function isMessage(value: unknown): value is QmpMessage {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
