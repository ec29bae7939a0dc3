/** Disk images and other files of a fixed size. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Makes a sparse file of `bytes`, e.g. a raw image, that begins with `content`. @returns its path */
export function makeImage(path: string, bytes: number, content: string | Buffer = ''): string {
  writeFileSync(path, content);
  truncateSync(path, bytes);
  return path;
}

/** Makes a file of `bytes` all of whose blocks are allocated. @returns its path */
export function makeAllocatedImage(path: string, bytes: number): string {
  writeFileSync(path, Buffer.alloc(bytes, 0xa5));
  return path;
}

/** Makes an image with qemu-img; `options` are its words between `create` and the path. @returns the path */
export function createImage(path: string, size: string, options: readonly string[]): string {
  execFileSync('qemu-img', ['create', '-q', ...options, path, size]);
  return path;
}

/** Makes a qcow2 image with the contents of a raw one; `options` are further words of `qemu-img convert`. @returns its path */
export function convertToQcow2(raw: string, path: string, ...options: readonly string[]): string {
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, path]);
  return path;
}

/** Disk space of the host that a file takes, in `bytes`. */
export function allocatedBytes(path: string): number {
  return 512 * statSync(path).blocks;
}

/** Writes a text into the first sector of a disk, through the driver of its image's format. */
export function writeFirstSector(path: string, format: string, text: string): void {
  // qemu-io splits its commands at spaces and has no quotes within quotes: the path of the sector has neither
  const sector = join(mkdtempSync(join(tmpdir(), 'sector-')), 'sector');
  try {
    writeFileSync(sector, text, 'latin1');
    truncateSync(sector, 512);
    const image = JSON.stringify({ driver: format, file: { driver: 'file', filename: path } });
    execFileSync('qemu-io', ['-c', `write -q -s ${sector} 0 512`, `json:${image}`]);
  } finally {
    rmSync(dirname(sector), { recursive: true });
  }
}
