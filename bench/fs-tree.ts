import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Makes directories with 100 files of 4 KiB each; `content: false` leaves holes. */
export function makeTree(tree: string, count: number, content = true): void {
  mkdirSync(tree);
  const bytes = Buffer.alloc(4096, 1);
  for (let i = 0; i < count; i++) {
    const directory = join(tree, String(Math.floor(i / 100)).padStart(3, '0'));
    if (i % 100 === 0) mkdirSync(directory);
    const file = join(directory, String(i % 100).padStart(2, '0'));
    writeFileSync(file, content ? bytes : '');
    if (!content) truncateSync(file, bytes.length);
  }
}
