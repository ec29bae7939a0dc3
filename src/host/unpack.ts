import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createGunzip } from 'node:zlib';
import type { Packing } from './bzimage.ts';

/** The usual tool for each packing; Node itself knows gzip. */
const TOOLS: Partial<Record<Packing, readonly [string, ...string[]]>> = {
  xz: ['xz', '-dc'],
  lzma: ['xz', '-dc', '--format=lzma'],
  zstd: ['zstd', '-dcq'],
  lz4: ['lz4', '-dcq'],
  bzip2: ['bzip2', '-dc'],
  lzo: ['lzop', '-dcq'],
};

/**
 * Unpacks a kernel or an initramfs.
 * @returns undefined where the bytes are more than one packed file
 * @throws where the tool for it is missing (the message names it) or the bytes are damaged
 */
export async function unpack(packing: Packing, bytes: Buffer): Promise<Buffer | undefined> {
  if (packing === 'elf') return bytes;
  if (packing === 'gzip') return gunzipWhole(bytes);
  const tool = TOOLS[packing];
  if (tool === undefined) throw new Error(`files packed with ${packing} cannot be unpacked`);
  return runTool(tool, bytes);
}

/** Node takes what follows a gzip stream for rubbish: more than padding may be another part of an archive. */
async function gunzipWhole(bytes: Buffer): Promise<Buffer | undefined> {
  const stream = createGunzip();
  const output: Buffer[] = [];
  stream.on('data', (part: Buffer) => output.push(part));
  stream.end(bytes);
  await once(stream, 'end');
  if (bytes.subarray(stream.bytesWritten).some((byte) => byte !== 0))
    throw new Error('it consists of several parts');
  return Buffer.concat(output);
}

async function runTool([name, ...args]: readonly [string, ...string[]], input: Buffer): Promise<Buffer> {
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const output: Buffer[] = [];
  let complaint = '';
  child.stdout.on('data', (bytes: Buffer) => output.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => (complaint += bytes.toString('utf8')));
  // a tool that ends early closes its input: its exit code says why
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [code] = await once(child, 'close').catch(() => {
    throw new Error(`${name} was not found: install it to boot this file unpacked, which is quicker`);
  });
  if (code !== 0) throw new Error(`${name} could not unpack it: ${complaint.trim()}`);
  return Buffer.concat(output);
}
