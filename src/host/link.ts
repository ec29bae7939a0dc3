import { closeSync, writeSync } from 'node:fs';
import { createConnection, createServer, type NetConnectOpts, type Socket } from 'node:net';
import { getSystemErrorMap } from 'node:util';
import { descriptorOf, loadNative } from '../util/native.ts';

/*
 * A connection between two VMMs. They speak in turns, one message each: a word that says whose protocol it is, the length in
 * 4 bytes (big endian), JSON. At the end of their talk the connection is given to the engines: as neither side says anything before it
 * was answered, none of the engines' bytes can be in our buffers then.
 */

/** Name and version of the protocol. */
const MAGIC = Buffer.from('NEPHOS-1');
const HEADER_BYTES = MAGIC.length + 4;
/** No description of a machine is as long. */
const MESSAGE_MAX = 16 * 2 ** 20;

/** One end of a connection. */
export interface Link {
  readonly send: (message: unknown) => void;
  /** The other side's next message. Rejects where it is none, and where the connection ends before. */
  readonly receive: () => Promise<unknown>;
  /**
   * Takes the connection out of Node's hands: from now on it is what the descriptor's owner makes of it. The first thing
   * that it says may be a last message.
   */
  readonly take: (last?: unknown) => Promise<number>;
  /** Ends it, unless it was taken. */
  readonly [Symbol.dispose]: () => void;
}

/** Connects to another VMM. Rejects with the reason; `signal` ends the talk. */
export function connectLink(address: NetConnectOpts, signal: AbortSignal): Promise<Link> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ ...address, signal });
    socket.once('error', (error) => reject(new Error(wordsOf(error))));
    socket.once('connect', () => resolve(linkOn(socket)));
  });
}

/** Listens for one connection; the socket's path is gone when it is there. Rejects with the reason, also when `signal` ends the wait. */
export function acceptLink(address: NetConnectOpts, signal: AbortSignal): Promise<Link> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      server.close();
      signal.removeEventListener('abort', stop);
      signal.addEventListener('abort', () => socket.destroy(), { once: true });
      resolve(linkOn(socket));
    });
    const stop = (): void => {
      server.close();
      reject(new Error('the wait for it was ended'));
    };
    server.maxConnections = 1;
    signal.addEventListener('abort', stop, { once: true });
    server.once('error', (error) => reject(new Error(wordsOf(error))));
    server.listen(address);
  });
}

/** Errors of sockets begin with the call and end with the address: what stands in between is left. */
function wordsOf(error: NodeJS.ErrnoException): string {
  const [, words] = getSystemErrorMap().get(error.errno ?? 0) ?? [];
  return words ?? error.message;
}

function linkOn(socket: Socket): Link {
  socket.setKeepAlive(true);
  // whoever waits for a message learns of it
  socket.on('error', () => undefined);
  const messages = readMessages(socket);
  return {
    send: (message) => void socket.write(encode(message)),
    receive: async () => {
      const { value, done } = await messages.next();
      if (done === true) throw new Error('the other side closed the connection');
      return value;
    },
    take: async (last) => {
      const { libc } = await loadNative();
      const fd = Number(libc.func('int dup(int)')(descriptorOf(socket)));
      if (fd < 0) throw new Error('the connection could not be given to QEMU');
      socket.destroy();
      try {
        if (last !== undefined) writeSync(fd, encode(last));
      } catch (error) {
        closeSync(fd);
        throw error;
      }
      return fd;
    },
    [Symbol.dispose]: () => void socket.end(),
  };
}

function encode(message: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(message));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([MAGIC, length, body]);
}

async function* readMessages(socket: Socket): AsyncGenerator<unknown, undefined> {
  let bytes = Buffer.alloc(0);
  for await (const part of socket) {
    bytes = Buffer.concat([bytes, Buffer.from(part)]);
    if (!bytes.subarray(0, MAGIC.length).equals(MAGIC.subarray(0, bytes.length))) {
      throw new Error('the other side does not speak this protocol');
    }
    if (bytes.length < HEADER_BYTES) continue;
    const length = bytes.readUInt32BE(MAGIC.length);
    if (length > MESSAGE_MAX) throw new Error('the other side sent too long a message');
    if (bytes.length < HEADER_BYTES + length) continue;
    const message: unknown = JSON.parse(bytes.toString('utf8', HEADER_BYTES, HEADER_BYTES + length));
    bytes = bytes.subarray(HEADER_BYTES + length);
    yield message;
  }
}
