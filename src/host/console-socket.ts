import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Pty } from './pty.ts';
import { makeWayForSocket } from './server-socket.ts';

/** How much output is kept while nobody is connected, in bytes: the newest stays. */
const BACKLOG_BYTES = 65_536;

/** How much is kept for a client that is slower than a guest that cannot wait, in bytes. */
const MOST_BYTES = 16 * 2 ** 20;

/** How long a client may take before it counts as one that does not read, in milliseconds. */
const READER_PATIENCE_MS = 3000;

/** Output is handed on in pieces of this many bytes, so that a slow client is seen to take some. */
const PIECE_BYTES = 16_384;

/** A console on a UNIX socket: one client at a time, and whoever comes next takes the place of the one before. */
export type ConsoleSocket = Omit<Pty, 'path'>;

/**
 * Listens on a UNIX socket; its file goes with `dispose`. Rejects with the path and the reason where something is
 * there already.
 */
export async function openConsoleSocket(path: string): Promise<ConsoleSocket> {
  await makeWayForSocket(path);
  const server = createServer();
  const output = createOutput();
  let take: (bytes: Buffer) => void = () => undefined;
  server.on('connection', (client) => {
    output.to(client);
    client.on('data', (bytes: Buffer) => take(bytes));
    // its end is told by `close`
    client.on('error', () => undefined);
  });
  await listen(server, path);
  return {
    write: output.write,
    onDrain: output.onDrain,
    onInput: (next) => {
      take = next;
    },
    dispose: () => {
      server.close();
      output.stop();
    },
  };
}

async function listen(server: Server, path: string): Promise<void> {
  server.listen(path);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new Error(`${path}: no socket could be made`, { cause: error });
  }
}

interface Output extends Pick<Pty, 'write' | 'onDrain'> {
  /** From now on the output goes to this client. */
  readonly to: (client: Socket) => void;
  readonly stop: () => void;
}

/** Gives output to a client as fast as it takes it, and keeps the newest while there is none that does. */
function createOutput(): Output {
  let kept: Buffer = Buffer.alloc(0);
  let client: Socket | undefined;
  let lastTaken = 0;
  let timer: NodeJS.Timeout | undefined;
  let resume: (() => void) | undefined;

  const isRead = (): boolean => client !== undefined && performance.now() - lastTaken < READER_PATIENCE_MS;
  const flush = (): void => {
    const rest = client === undefined ? kept : handOn(client, kept);
    if (rest.length < kept.length) lastTaken = performance.now();
    kept = rest;
    clearTimeout(timer);
    if (kept.length > BACKLOG_BYTES && isRead()) {
      // a client that has stopped reading must not stop the guest
      timer = setTimeout(flush, READER_PATIENCE_MS).unref();
      return;
    }
    kept = newest(kept, BACKLOG_BYTES);
    const go = resume;
    resume = undefined;
    go?.();
  };
  const to = (next: Socket | undefined): void => {
    client = next;
    lastTaken = performance.now();
    flush();
  };
  return {
    to: (next) => {
      client?.destroy();
      next.on('drain', flush);
      next.on('close', () => client === next && to(undefined));
      to(next);
    },
    write: (bytes) => {
      kept = newest(kept.length === 0 ? bytes : Buffer.concat([kept, bytes]), MOST_BYTES);
      flush();
      return kept.length <= BACKLOG_BYTES;
    },
    onDrain: (next) => {
      resume = next;
    },
    stop: () => {
      clearTimeout(timer);
      client?.destroy();
    },
  };
}

/** The end of what is kept; a copy where it was cut, so that the rest can go. */
function newest(bytes: Buffer, most: number): Buffer {
  return bytes.length > most ? Buffer.from(bytes.subarray(bytes.length - most)) : bytes;
}

/** Hands on what a client takes now. @returns the rest */
function handOn(taker: Socket, bytes: Buffer): Buffer {
  let rest = bytes;
  while (rest.length > 0 && taker.writable && !taker.writableNeedDrain) {
    taker.write(rest.subarray(0, PIECE_BYTES));
    rest = rest.subarray(PIECE_BYTES);
  }
  return rest;
}
