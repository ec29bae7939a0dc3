import { closeSync, writeSync } from 'node:fs';
import { once } from 'node:events';
import { createConnection, createServer, Socket, type NetConnectOpts, type Server } from 'node:net';
import { getSystemErrorMap } from 'node:util';
import { loadLibc } from '../../native/libc.ts';
import { serveAtPath } from '../../native/listening-socket.ts';
import { duplicateDescriptor } from '../../native/unix-socket.ts';
import { hiddenCause } from '../../util/hidden-cause.ts';

/*
 * A connection between two VMMs. They speak in turns, one message each: a word that says whose protocol it is, the length in
 * 4 bytes (big endian), JSON. At the end of their talk the connection is given to the engines: as neither side says anything before it
 * was answered, none of the engines' bytes can be in our buffers then.
 */

/** Name and version of the protocol. */
const MAGIC = Buffer.from('NEPHOS-1');
const HEADER_BYTES = MAGIC.length + 4;
/** No description of a machine is as long: a configuration has 256 KiB at most, and there are two. */
const MESSAGE_MAX = 2 ** 20;

/** One end of a connection. */
export interface MigrationConnection {
  readonly send: (message: unknown) => void;
  /** The other side's next message. Rejects where it is none, where the connection ends before, and after the time. */
  readonly receive: (patienceMs?: number) => Promise<unknown>;
  /**
   * Takes the connection out of Node's hands: from now on it is what the descriptor's owner makes of it. The first thing
   * that it says may be a last message.
   */
  readonly take: (last?: unknown) => Promise<number>;
  /** Ends it, unless it was taken. */
  readonly [Symbol.dispose]: () => void;
}

/** Connects to another VMM. Rejects with the reason; `signal` ends the talk. */
export function connectMigration(address: NetConnectOpts, signal: AbortSignal): Promise<MigrationConnection> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ ...address, signal });
    socket.once('error', (error) => reject(new Error(wordsOf(error))));
    socket.once('connect', () => resolve(linkOn(socket)));
  });
}

/** Listens for one connection; the socket's path is gone when it is there. Rejects with the reason, also when `signal` ends the wait. */
export async function acceptMigration(
  address: NetConnectOpts,
  signal: AbortSignal,
): Promise<MigrationConnection> {
  const server = createServer();
  server.maxConnections = 1;
  const connected = once(server, 'connection', { signal });
  // it is waited for below
  connected.catch(() => undefined);
  using _listening = await listen(server, address);
  const [socket]: unknown[] = await connected.catch((error: NodeJS.ErrnoException) => {
    throw new Error(signal.aborted ? 'the wait for it was ended' : wordsOf(error), hiddenCause(error));
  });
  if (!(socket instanceof Socket)) throw new Error('the connection could not be accepted');
  signal.addEventListener('abort', () => socket.destroy(), { once: true });
  return linkOn(socket);
}

/** @returns ends the listening, and removes the socket's file */
async function listen(server: Server, address: NetConnectOpts): Promise<Disposable> {
  const removeFile = await startListening(server, address).catch((error: NodeJS.ErrnoException) => {
    throw new Error(wordsOf(error), hiddenCause(error));
  });
  return {
    [Symbol.dispose]: () => {
      removeFile();
      server.close();
    },
  };
}

/** @returns removes the socket's file */
async function startListening(server: Server, address: NetConnectOpts): Promise<() => void> {
  if ('path' in address) return (await serveAtPath(server, address.path)).removeFile;
  const listening = once(server, 'listening');
  server.listen(address);
  await listening;
  return () => undefined;
}

/** Errors of sockets begin with the call and end with the address: what stands in between is left. */
function wordsOf(error: NodeJS.ErrnoException): string {
  const [, words] = getSystemErrorMap().get(error.errno ?? 0) ?? [];
  return words ?? error.message;
}

function linkOn(socket: Socket): MigrationConnection {
  socket.setKeepAlive(true);
  // whoever waits for a message learns of it
  socket.on('error', () => undefined);
  const messages = readMessages(socket);
  return {
    send: (message) => void socket.write(encode(message)),
    receive: async (patienceMs) => {
      const { value, done } = await inTime(messages.next(), patienceMs);
      if (done === true) throw new Error('the other side closed the connection');
      return value;
    },
    take: async (last) => {
      await loadLibc();
      const fd = duplicateDescriptor(socket);
      socket.destroy();
      try {
        if (last !== undefined) writeSync(fd, encode(last));
      } catch (error) {
        closeSync(fd);
        throw error;
      }
      return fd;
    },
    // what was sent goes out first; the other side may never close its end
    [Symbol.dispose]: () => socket.destroySoon(),
  };
}

/** Rejects where the other side is silent for too long. */
async function inTime<T>(wait: Promise<T>, patienceMs: number | undefined): Promise<T> {
  if (patienceMs === undefined) return wait;
  using timer = alarm(patienceMs);
  return await Promise.race([wait, timer.rung]);
}

function alarm(ms: number): Disposable & { readonly rung: Promise<never> } {
  let timer: NodeJS.Timeout | undefined;
  const rung = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the other side said nothing for ${ms / 1000} s`)), ms);
  });
  return { rung, [Symbol.dispose]: () => clearTimeout(timer) };
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
