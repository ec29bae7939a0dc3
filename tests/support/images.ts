import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Makes an image with qemu-img; `options` are its words between `create` and the path. */
export function createImage(path: string, size: string, options: readonly string[]): string {
  execFileSync('qemu-img', ['create', '-q', ...options, path, size]);
  return path;
}

/** Writes a text into the first sector of a disk, through the driver of its image's format. */
export function writeFirstSector(path: string, format: string, text: string): void {
  // qemu-io splits its commands at spaces and knows no quotes within quotes: a path of ours is safe
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
