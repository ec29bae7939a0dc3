import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { pack, type Header } from 'tar-stream';
import type { WriteSquashfsOptions } from '../layer-archive.ts';
import { writeSquashfs } from './write-squashfs.ts';

/*
 * Archives for tests. `tar-stream` and GNU tar write them, and `rdsquashfs` reads the results: the code under test takes part in
 * neither.
 */

const run = promisify(execFile);

/** An entry for `tar-stream`. */
export type TestEntry = Partial<Header> & { readonly name: string; readonly content?: string };

/** Makes an archive of entries, in their order. */
export async function tarOf(entries: readonly TestEntry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of entries) archive.entry(header, content ?? '');
  archive.finalize();
  return buffer(archive);
}

/** A temporary folder that is removed at the end. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'nephos-layer-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** A layer that has been written. */
export interface TestLayer extends AsyncDisposable {
  /** Path of the squashfs */
  readonly path: string;
  /** Lines of `rdsquashfs --describe`, sorted, e.g. `file etc/passwd 0644 0 0` */
  readonly list: readonly string[];
  /** Content of a file */
  readonly content: (path: string) => Promise<string>;
  /** Lines of `rdsquashfs --xattr` */
  readonly xattrs: (path: string) => Promise<readonly string[]>;
  /** Number of the inode of a path */
  readonly inode: (path: string) => Promise<string>;
}

/** Writes an archive as a squashfs. `packed` is what the file has, where it differs from the archive. */
export async function writeLayer(
  archive: Buffer,
  { packed = archive, ...options }: WriteSquashfsOptions & { readonly packed?: Buffer } = {},
): Promise<TestLayer> {
  const folder = await temporaryFolder();
  try {
    const path = join(folder.path, 'layer');
    const target = join(folder.path, 'layer, one.squashfs');
    await writeFile(path, packed);
    const layer = { image: 'test', diffId: digestOf(archive), path, mediaType: '' };
    await writeSquashfs(layer, target, options);
    const read = async (...args: string[]): Promise<string> =>
      (await run('rdsquashfs', [...args, target])).stdout;
    const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');
    return {
      path: target,
      list: linesOf(await read('--describe')).toSorted(),
      content: (name) => read('--cat', name),
      xattrs: async (name) => linesOf(await read('--xattr', name)),
      inode: async (name) => /Inode number: (\d+)/.exec(await read('--stat', name))?.[1] ?? '',
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    };
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}
