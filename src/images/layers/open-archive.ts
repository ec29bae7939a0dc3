import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { requireProgramDescriptors } from '../../util/free-descriptors.ts';
import { openFile } from '../../util/open-file.ts';
import { collectText } from './collect-text.ts';
import { TarError } from './tar-header.ts';

/** Compressions of an archive by their first bytes; without one of them it is a plain tar archive. */
const MAGICS: readonly (readonly [compression: Compression, magic: Buffer])[] = [
  ['gzip', Buffer.from([0x1f, 0x8b])],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ['bzip2', Buffer.from('BZh')],
];

type Compression = 'gzip' | 'zstd' | 'xz' | 'bzip2';

/** Programs that decompress, with Debian's package. Node itself decompresses gzip. They limit their own memory. */
const PROGRAMS: Readonly<Record<Exclude<Compression, 'gzip'>, readonly [string, string, ...string[]]>> = {
  zstd: ['zstd', 'zstd', '-dcq'],
  xz: ['xz', 'xz-utils', '-dcq', '--memlimit-decompress=256MiB'],
  bzip2: ['bzip2', 'bzip2', '-dcq'],
};

const CHUNK_BYTES = 256 * 1024;

/** Options of {@link openArchive}. */
export interface OpenArchiveOptions {
  readonly signal?: AbortSignal | undefined;
  /** gets the bytes of the file that have been read, and its size */
  readonly onRead?: (done: number, total: number) => void;
}

/**
 * Yields the uncompressed bytes of an archive. The content tells the compression: media types of images are often wrong. Ending the
 * iteration closes the file and ends the program.
 * @throws TarError for damaged data, Error where the file cannot be read or a program is missing (the message names the package)
 */
export async function* openArchive(path: string, options: OpenArchiveOptions = {}): AsyncGenerator<Buffer> {
  await using file = await openFile(path, { signal: options.signal });
  const compression = await detectCompression(file);
  const { size } = await file.stat();
  const input = file.createReadStream({ start: 0, autoClose: false, highWaterMark: CHUNK_BYTES });
  let done = 0;
  input.on('data', (chunk) => options.onRead?.((done += chunk.length), size));
  input.pause();
  try {
    if (compression === undefined) yield* input;
    else if (compression === 'gzip') yield* gunzip(input, options.signal);
    else yield* runProgram(PROGRAMS[compression], input, options.signal);
  } finally {
    input.destroy();
  }
}

async function detectCompression(file: FileHandle): Promise<Compression | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(8), 0, 8, 0);
  const head = buffer.subarray(0, bytesRead);
  return MAGICS.find(([, magic]) => head.subarray(0, magic.length).equals(magic))?.[0];
}

async function* gunzip(input: Readable, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  const stream = createGunzip({ chunkSize: CHUNK_BYTES });
  // its failure is reported by the stream
  pipeline(input, stream, { signal }).catch(() => undefined);
  try {
    yield* stream;
  } catch (error) {
    signal?.throwIfAborted();
    if (codeOf(error)?.startsWith('Z_') !== true) throw error;
    throw new TarError(`is damaged: ${reasonOf(error)}`, { cause: error });
  } finally {
    stream.destroy();
  }
}

async function* runProgram(
  [name, debianPackage, ...args]: readonly [string, string, ...string[]],
  input: Readable,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  requireProgramDescriptors();
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  await started(child, name, debianPackage);
  const closed = once(child, 'close');
  const stderr = collectText(child.stderr);
  // a program that exits early closes its input: its exit code has the reason
  pipeline(input, child.stdin, { signal }).catch(() => undefined);
  const abort = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', abort);
  try {
    yield* child.stdout;
    const [code, ended] = await closed;
    signal?.throwIfAborted();
    if (code !== 0) throw new TarError(`is damaged: ${name}: ${stderr() || String(ended ?? code)}`);
  } finally {
    signal?.removeEventListener('abort', abort);
    child.kill('SIGKILL');
  }
}

/** Waits for the start of a program. @throws Error that names the package of a missing one */
export async function started(child: ChildProcess, name: string, debianPackage: string): Promise<void> {
  try {
    await once(child, 'spawn');
  } catch (error) {
    const reason =
      codeOf(error) === 'ENOENT'
        ? `was not found: install the package ${debianPackage}`
        : `could not be started: ${reasonOf(error)}`;
    throw new Error(`${name} ${reason}`, { cause: error });
  }
}
