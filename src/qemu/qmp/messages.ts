import type { Duplex } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

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

/** Sends one message. */
export function writeMessage(stream: Duplex, message: QmpMessage): void {
  stream.write(encodeMessage(message));
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
