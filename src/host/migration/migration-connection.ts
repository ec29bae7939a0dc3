import { closeSync, writeSync } from 'node:fs';
import { once } from 'node:events';
import { createConnection, createServer, Socket, type NetConnectOpts, type Server } from 'node:net';
import { getSystemErrorMap } from 'node:util';
import { loadLibc } from '../../native/libc.ts';
import { serveAtPath } from '../../native/listening-socket.ts';
import { duplicateDescriptor } from '../../native/unix-socket.ts';
import { hiddenCause } from '../../util/hidden-cause.ts';

/*
 * The connection between the VMMs of a live migration. They alternate, one message each: the name of the protocol, the length in
 * 4 bytes (big endian), JSON. At the end both VMMs pass the connection to QEMU: as neither side sends before it was answered, no
 * bytes of QEMU are in the buffers of Node then.
 *
 * Invariants: messages are limited in length and not trusted; a wait for one has a deadline or an AbortSignal.
 */

/** Name and version of the protocol. */
const MAGIC = Buffer.from('NEPHOS-1');
const HEADER_BYTES = MAGIC.length + 4;
/** Largest message, in bytes: it contains two configurations of at most 256 KiB each. */
const MESSAGE_MAX = 2 ** 20;

/** One end of a connection. */
export interface MigrationConnection {
  readonly send: (message: unknown) => void;
  /** Receives the next message. Rejects where it is invalid, where the connection ends before, and after the deadline. */
  readonly receive: (deadlineMs?: number) => Promise<unknown>;
  /**
   * Detaches the connection from Node, after an optional last message.
   * @returns the descriptor, which the caller owns
   */
  readonly detach: (last?: unknown) => Promise<number>;
  /** Closes it, unless it was detached. */
  readonly [Symbol.dispose]: () => void;
}

/** Connects to another VMM. Rejects with the reason; `signal` closes the connection. */
export function connectMigration(address: NetConnectOpts, signal: AbortSignal): Promise<MigrationConnection> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ ...address, signal });
    socket.once('error', (error) => reject(new Error(socketReasonOf(error))));
    socket.once('connect', () => resolve(connectionOn(socket)));
  });
}

/** Listens for one connection; the socket's path is removed when it is accepted. Rejects with the reason, also when `signal` is aborted. */
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
    throw new Error(signal.aborted ? 'the wait for it was ended' : socketReasonOf(error), hiddenCause(error));
  });
  if (!(socket instanceof Socket)) throw new Error('the connection could not be accepted');
  signal.addEventListener('abort', () => socket.destroy(), { once: true });
  return connectionOn(socket);
}

/** @returns stops listening, and removes the socket's file */
async function listen(server: Server, address: NetConnectOpts): Promise<Disposable> {
  const removeFile = await startListening(server, address).catch((error: NodeJS.ErrnoException) => {
    throw new Error(socketReasonOf(error), hiddenCause(error));
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

/** Returns the reason of a socket's error without the call and the address. */
function socketReasonOf(error: NodeJS.ErrnoException): string {
  const [, words] = getSystemErrorMap().get(error.errno ?? 0) ?? [];
  return words ?? error.message;
}

function connectionOn(socket: Socket): MigrationConnection {
  socket.setKeepAlive(true);
  // a pending `receive` reports it
  socket.on('error', () => undefined);
  const messages = readMessages(socket);
  return {
    send: (message) => void socket.write(encode(message)),
    receive: async (deadlineMs) => {
      const { value, done } = await inTime(messages.next(), deadlineMs);
      if (done === true) throw new Error('the peer closed the connection');
      return value;
    },
    detach: async (last) => {
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
    // sent messages are written first; the peer may never close its end
    [Symbol.dispose]: () => socket.destroySoon(),
  };
}

/** Rejects after a deadline. */
async function inTime<T>(wait: Promise<T>, deadlineMs: number | undefined): Promise<T> {
  if (deadlineMs === undefined) return wait;
  using timer = alarm(deadlineMs);
  return await Promise.race([wait, timer.rung]);
}

function alarm(ms: number): Disposable & { readonly rung: Promise<never> } {
  let timer: NodeJS.Timeout | undefined;
  const rung = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the peer sent nothing for ${ms / 1000} s`)), ms);
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
      throw new Error('the peer does not use this protocol');
    }
    if (bytes.length < HEADER_BYTES) continue;
    const length = bytes.readUInt32BE(MAGIC.length);
    if (length > MESSAGE_MAX) throw new Error('the peer sent too long a message');
    if (bytes.length < HEADER_BYTES + length) continue;
    const message: unknown = JSON.parse(bytes.toString('utf8', HEADER_BYTES, HEADER_BYTES + length));
    bytes = bytes.subarray(HEADER_BYTES + length);
    yield message;
  }
}
