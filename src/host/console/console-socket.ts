import { createServer, type Server, type Socket } from 'node:net';
import { createByteQueue, dropOldest, type ByteQueue } from '../../util/byte-queue.ts';
import { createDrain } from '../../util/drain.ts';
import { HOLD_BYTES, MOST_BYTES, RESUME_BYTES, UNREAD_BYTES, type HostConsole } from './host-console.ts';
import { reasonOf } from '../../util/errno.ts';
import { serveAtPath } from '../../native/listening-socket.ts';

/** Output is written to a client in pieces of this many bytes, each when the client has read the previous one. */
const PIECE_BYTES = 16_384;

/**
 * Listens on a UNIX socket as a console: one client at a time; the next client replaces it. Its
 * file is removed with `dispose`. Rejects with the path and the reason where the path is occupied.
 */
export async function openConsoleSocket(path: string): Promise<HostConsole> {
  // a client that has closed its sending side counts as disconnected, as it looks like one that has closed both: otherwise
  // further output would be lost
  const server = createServer();
  const output = createOutput();
  const input = createInput();
  server.on('connection', (client) => {
    // `close` reports its end
    client.on('error', () => undefined);
    output.to(client);
    input.from(client);
  });
  const removeFile = await listen(server, path);
  return {
    write: output.write,
    onDrain: output.onDrain,
    onInput: input.onInput,
    pauseInput: input.pause,
    resumeInput: input.resume,
    dispose: () => {
      removeFile();
      server.close();
      output.stop();
    },
  };
}

/** @returns a function that removes the socket's file */
async function listen(server: Server, path: string): Promise<() => void> {
  try {
    return (await serveAtPath(server, path)).removeFile;
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

interface Input {
  /** Reads input from this client from now on. */
  readonly from: (client: Socket) => void;
  readonly onInput: HostConsole['onInput'];
  readonly pause: () => void;
  readonly resume: () => void;
}

function createInput(): Input {
  let client: Socket | undefined;
  let take: ((bytes: Buffer) => void) | undefined;
  let isPaused = false;
  const apply = (): void => {
    if (isPaused || take === undefined) client?.pause();
    else client?.resume();
  };
  return {
    from: (next) => {
      client = next;
      next.on('data', (bytes: Buffer) => take?.(bytes));
      apply();
    },
    onInput: (next) => {
      take = next;
      apply();
    },
    pause: () => {
      isPaused = true;
      apply();
    },
    resume: () => {
      isPaused = false;
      apply();
    },
  };
}

interface Output extends Pick<HostConsole, 'write' | 'onDrain'> {
  /** Writes output to this client from now on. */
  readonly to: (client: Socket) => void;
  readonly stop: () => void;
}

/** Writes output to the client as fast as it reads, and keeps the newest while there is no client. */
function createOutput(): Output {
  const queue = createByteQueue();
  let client: Socket | undefined;
  const drain = createDrain();

  const flush = (): void => {
    if (client === undefined) dropOldest(queue, UNREAD_BYTES);
    else writeSome(client, queue);
    drain.check(queue.length());
  };
  return {
    to: (next) => {
      client?.destroy();
      client = next;
      next.on('drain', flush);
      next.on('close', () => {
        if (client !== next) return;
        client = undefined;
        flush();
      });
      flush();
    },
    write: (bytes) => {
      queue.push(bytes);
      flush();
      dropOldest(queue, MOST_BYTES);
      return queue.length() <= HOLD_BYTES;
    },
    onDrain: (resume) => drain.wait(RESUME_BYTES, resume),
    stop: () => client?.destroy(),
  };
}

/** Writes as much as a client takes now. */
function writeSome(client: Socket, queue: ByteQueue): void {
  while (queue.length() > 0 && client.writable && !client.writableNeedDrain) {
    const piece = queue.front().subarray(0, PIECE_BYTES);
    queue.drop(piece.length);
    client.write(piece);
  }
}
