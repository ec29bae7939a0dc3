// Commands of docs/recipes.md with a disk image: Debian 13 by firmware, and by a kernel of the host.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { debianDisk } from '../support/debian.ts';
import { runBlocks } from '../support/document-shell.ts';
import { shellBlocks } from '../support/markdown.ts';

/** Size of the part of the disk with the EFI system partition, and the offset of that, in MiB. */
const [HEAD_MIB, ESP_MIB] = [65, 1];

/** Makes the folder that the document names: the disk image, and its kernel and initramfs as files. */
function makeImages(home: string): void {
  const folder = join(home, 'images');
  mkdirSync(folder);
  symlinkSync(debianDisk(), join(folder, 'debian-13-genericcloud-amd64.qcow2'));
  const head = join(folder, 'head.raw');
  execFileSync('qemu-img', [
    'dd',
    '-O',
    'raw',
    'bs=1M',
    `count=${HEAD_MIB}`,
    `if=${debianDisk()}`,
    `of=${head}`,
  ]);
  for (const name of ['vmlinuz', 'initrd.img'])
    execFileSync('mcopy', ['-i', `${head}@@${ESP_MIB}M`, `::${name}`, join(folder, name)]);
  rmSync(head);
}

test('the recipes with a disk image work', async () => {
  const blocks = shellBlocks('docs/recipes.md')
    .filter(({ notRun }) => notRun?.startsWith('npm run test:slow') === true)
    .map((block) => ({ ...block, notRun: undefined }));
  assert.equal(blocks.length, 2);
  const { code, output } = await runBlocks(blocks, { prepare: makeImages });
  assert.equal(code, 0, output);
  for (const shown of [
    'debian-13-genericcloud-amd64.qcow2\n',
    'Linux debian 6.',
    'efivars\n',
    'root=/dev/vda2',
  ])
    assert.ok(output.includes(shown), output);
});
