import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { serveAtPath } from '../../native/listening-socket.ts';
import { clip } from '../../util/clip.ts';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';

/*
 * Requests of other processes to the owner process of a VM: `control.sock` in the VM directory, while its command runs. A client sends
 * `SIGNAL <number>\n`; the answer is `OK\n` or `ERROR <reason>\n`. A signal of the host could not carry each signal of a guest: SIGSTOP would
 * stop the owner process, and SIGSEGV end it.
 */

/** Time limit of a request and of its answer, in milliseconds. */
const REQUEST_MS = 10_000;

/** Most connections at a time. */
const CONNECTIONS_MAX = 32;

/** Longest request and answer, in bytes. */
const LINE_BYTES_MAX = 1024;

/** Serves requests at a path until the server is disposed of. `send` sends a signal, by its number, to the command. */
export async function serveControl(
  path: string,
  send: (signal: number) => Promise<void>,
): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    answer(socket, send).catch(() => socket.destroy());
  });
  server.maxConnections = CONNECTIONS_MAX;
  const { removeFile } = await serveAtPath(server, path, { mode: 0o600 });
  return {
    [Symbol.asyncDispose]: async () => {
      removeFile();
      const closed = once(server, 'close');
      server.close();
      // an answer to a request that ended the VM
      for (const socket of sockets) socket.end();
      await Promise.race([closed, delay(100)]);
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function answer(socket: Socket, send: (signal: number) => Promise<void>): Promise<void> {
  const line = await readLine(socket);
  const signal = Number(/^SIGNAL (\d{1,2})$/.exec(line)?.[1] ?? '0');
  try {
    if (signal === 0) throw new Error('the request is not "SIGNAL <number>"');
    await send(signal);
    socket.end('OK\n');
  } catch (error) {
    socket.end(`ERROR ${clip(reasonOf(error)).replaceAll('\n', ' ')}\n`);
  }
}

/** Reads a line. Rejects where the stream ends before, or its time limit. */
async function readLine(socket: Socket): Promise<string> {
  const limit = setTimeout(() => socket.destroy(), REQUEST_MS);
  try {
    let length = 0;
    socket.on('data', (bytes: Buffer) => {
      length += bytes.length;
      if (length > LINE_BYTES_MAX) socket.destroy();
    });
    for await (const line of createInterface({ input: socket })) return line;
  } finally {
    clearTimeout(limit);
  }
  throw new Error('the stream ended');
}

/**
 * Sends a signal to the command of a VM through its owner process.
 * @throws RunError where no command of `nephos run` runs in the VM, or the signal cannot be sent
 */
export async function signalCommand(path: string, name: string, signal: number): Promise<void> {
  const socket = connect({ path });
  socket.on('error', () => undefined);
  try {
    await once(socket, 'connect');
  } catch (error) {
    throw new RunError('not-running', `${name}: no command of "nephos run" runs in this VM`, {
      cause: error,
    });
  }
  try {
    socket.write(`SIGNAL ${signal}\n`);
    const reply = await readLine(socket);
    if (reply !== 'OK') throw new RunError('not-running', `${name}: ${reply.replace(/^ERROR /, '')}`);
  } finally {
    socket.destroy();
  }
}
