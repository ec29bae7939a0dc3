import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { codeOf, reasonOf } from '../../util/errno.ts';
import type { Packing } from './bzimage.ts';
import { requireProgramDescriptors } from '../../util/free-descriptors.ts';
import { partsOf, type FileRange } from '../files/file-range.ts';
import { UnpackError } from './unpack-error.ts';

/** The tool for each compression, which limits its own memory. Node itself decompresses gzip. */
const TOOLS: Partial<Record<Packing, readonly [string, ...string[]]>> = {
  xz: ['xz', '-dc', '--memlimit-decompress=256MiB'],
  lzma: ['xz', '-dc', '--format=lzma', '--memlimit-decompress=256MiB'],
  zstd: ['zstd', '-dcq'],
  lz4: ['lz4', '-dcq'],
  bzip2: ['bzip2', '-dc'],
  lzo: ['lzop', '-dcq'],
};

/** Deadline for unpacking a file, in milliseconds: a tool that hangs is killed. */
const DEADLINE_MS = 120_000;

/** Most characters of a tool's error output that are kept. */
const STDERR_CHARACTERS = 500;

/**
 * Unpacks a kernel or an initramfs part by part, in a process of its own or in libuv's threads. Ending the iteration cancels it.
 * @throws UnpackError where the tool is missing (the message names it), the bytes are damaged, or more than one packed file
 */
export async function* unpack(packing: Packing, packed: FileRange): AsyncGenerator<Buffer> {
  try {
    yield* partsFor(packing, packed);
  } catch (error) {
    throw error instanceof UnpackError ? error : new UnpackError(reasonOf(error), { cause: error });
  }
}

function partsFor(packing: Packing, packed: FileRange): AsyncGenerator<Buffer> {
  if (packing === 'elf') return partsOf(packed);
  if (packing === 'gzip') return gunzip(packed);
  const tool = TOOLS[packing];
  if (tool === undefined) throw new UnpackError(`files packed with ${packing} cannot be unpacked`);
  return runTool(tool, packed);
}

async function* gunzip(packed: FileRange): AsyncGenerator<Buffer> {
  const stream = createGunzip();
  const feeding = pipeline(readableOf(packed), stream, { signal: AbortSignal.timeout(DEADLINE_MS) });
  // its failure is reported by the stream
  feeding.catch(() => undefined);
  try {
    yield* stream;
  } finally {
    stream.destroy();
  }
  // Node ignores bytes after a gzip stream: those that are no padding may be another part of an archive
  const rest = packed.length - stream.bytesWritten;
  for await (const part of partsOf({
    ...packed,
    offset: packed.offset + stream.bytesWritten,
    length: rest,
  })) {
    if (part.some((byte) => byte !== 0)) throw new UnpackError('it consists of several parts');
  }
}

async function* runTool(
  [name, ...args]: readonly [string, ...string[]],
  packed: FileRange,
): AsyncGenerator<Buffer> {
  requireProgramDescriptors();
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  await started(child, name);
  const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
  const closed = once(child, 'close');
  let stderr = '';
  child.stderr.on('data', (bytes: Buffer) => {
    stderr = (stderr + bytes.toString('utf8')).slice(0, STDERR_CHARACTERS);
  });
  // a tool that exits early closes its input: its exit code has the reason
  pipeline(readableOf(packed), child.stdin).catch(() => undefined);
  try {
    yield* child.stdout;
    const [code, signal] = await closed;
    if (code === 0) return;
    throw new UnpackError(`${name} could not unpack it: ${stderr.trim() || String(signal ?? code)}`);
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
}

async function started(child: ChildProcess, name: string): Promise<void> {
  try {
    await once(child, 'spawn');
  } catch (error) {
    const reason =
      codeOf(error) === 'ENOENT'
        ? 'was not found: install it to boot this file unpacked, which is quicker'
        : `could not be started: ${reasonOf(error)}`;
    throw new UnpackError(`${name} ${reason}`, { cause: error });
  }
}

function readableOf(packed: FileRange): Readable {
  return Readable.from(partsOf(packed), { objectMode: false });
}
