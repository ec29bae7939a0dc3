import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import type { Writable } from 'node:stream';
import { requireProgramDescriptors } from '../../util/free-descriptors.ts';
import { collectText } from './collect-text.ts';
import { started } from './open-archive.ts';

/** A running tar2sqfs (squashfs-tools-ng). Disposal kills it, unless it has finished. */
export interface SquashfsWriter extends AsyncDisposable {
  /** Passes bytes of a tar archive. @throws Error with the program's message where it has ended */
  readonly write: (bytes: Buffer) => Promise<void>;
  /** Ends the archive and waits until the squashfs file is complete. */
  readonly finish: () => Promise<void>;
}

/** Bytes that are collected before they are passed: most headers are small. */
const BATCH_BYTES = 128 * 1024;

/** Starts tar2sqfs. It writes the squashfs to `target`, an absolute path, and replaces a file there. */
export async function startTar2sqfs(
  target: string,
  signal: AbortSignal | undefined,
): Promise<SquashfsWriter> {
  signal?.throwIfAborted();
  requireProgramDescriptors();
  const jobs = String(Math.min(availableParallelism(), 8));
  const child = spawn('tar2sqfs', ['-q', '-s', '-f', '-c', 'lz4', '-j', jobs, target], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  await started(child, 'tar2sqfs', 'squashfs-tools-ng');
  const stderr = collectText(child.stderr);
  const ended = once(child, 'close');
  // a failure of its input is explained by its exit
  child.stdin.on('error', () => undefined);
  const abort = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', abort);

  const failure = async (): Promise<Error> => {
    const [code, killed] = await ended;
    signal?.throwIfAborted();
    return new Error(`tar2sqfs: ${stderr() || `ended with ${String(killed ?? code)}`}`);
  };
  const input = batchedInput(child.stdin, failure);
  return {
    write: input.write,
    async finish() {
      await input.flush();
      child.stdin.end();
      const [code] = await ended;
      if (code !== 0) throw await failure();
      signal?.throwIfAborted();
    },
    async [Symbol.asyncDispose]() {
      signal?.removeEventListener('abort', abort);
      child.kill('SIGKILL');
      await ended;
    },
  };
}

interface BatchedInput {
  readonly write: (bytes: Buffer) => Promise<void>;
  readonly flush: () => Promise<void>;
}

/** Writes to a program in large parts, as fast as it reads. `failure` makes the error for a program that has ended. */
function batchedInput(stream: Writable, failure: () => Promise<Error>): BatchedInput {
  let batch: Buffer[] = [];
  let length = 0;
  const flush = async (): Promise<void> => {
    const bytes = Buffer.concat(batch);
    batch = [];
    length = 0;
    if (!stream.destroyed && !stream.write(bytes)) await drained(stream);
    if (stream.destroyed) throw await failure();
  };
  const write = async (bytes: Buffer): Promise<void> => {
    batch.push(bytes);
    length += bytes.length;
    if (length >= BATCH_BYTES) await flush();
  };
  return { write, flush };
}

/** Waits until a stream accepts more, or is closed. */
function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done);
      stream.off('close', done);
      resolve();
    };
    stream.on('drain', done);
    stream.on('close', done);
  });
}
