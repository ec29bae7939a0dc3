import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A loop device over a file, until the test ends. Needs root. */
export function attachLoop(file: string, blockBytes: number): Disposable & { readonly path: string } {
  assert.ok(
    process.getuid?.() === 0 && existsSync('/dev/loop-control'),
    'this test needs root and loop devices',
  );
  const words = ['--find', '--show', '--sector-size', String(blockBytes), file];
  const path = execFileSync('losetup', words, { encoding: 'utf8' }).trim();
  return { path, [Symbol.dispose]: () => void execFileSync('losetup', ['--detach', path]) };
}

/** A file system on a disk whose sectors have 4096 bytes, mounted in `folder` until the test ends. Needs root. */
export function mountOn4kSectors(folder: string, mib: number): Disposable & { readonly path: string } {
  const [file, path] = [join(folder, 'below'), join(folder, 'mounted')];
  writeFileSync(file, '');
  truncateSync(file, mib * 2 ** 20);
  mkdirSync(path);
  const loop = attachLoop(file, 4096);
  try {
    execFileSync('mkfs.ext4', ['-q', loop.path]);
    execFileSync('mount', [loop.path, path]);
  } catch (error) {
    loop[Symbol.dispose]();
    throw error;
  }
  const unmount = (): void => {
    execFileSync('umount', ['--lazy', path]);
    loop[Symbol.dispose]();
  };
  return { path, [Symbol.dispose]: unmount };
}
