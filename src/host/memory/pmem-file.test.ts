import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { PmemConfig } from '../../devices/pmem/config.ts';
import { decode } from '../../schema/decode.ts';
import { inspectPmem } from './pmem-file.ts';

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'nephos-pmem-'));
after(() => rmSync(folder, { recursive: true }));

test('a pmem device is a file, a block device or a folder with a size', async () => {
  const inspect = (file: string, size?: number) => inspectPmem(decode(PmemConfig, { file, size }));
  const [file, fifo] = [join(folder, 'file'), join(folder, 'fifo')];
  writeFileSync(file, Buffer.alloc(4 * MIB));
  execFileSync('mkfifo', ['--', fifo]);
  assert.deepEqual(await inspect(file), { size: 4 * MIB, isFolder: false });
  assert.deepEqual(await inspect(folder, 2 * MIB), { size: 2 * MIB, isFolder: true });
  for (const path of ['/dev/null', fifo]) {
    await assert.rejects(inspect(path), new RegExp(`^Error: ${path}: is neither a file, a folder nor`));
  }
  await assert.rejects(inspect(join(folder, 'none')), /none: no such file or directory/);
});
