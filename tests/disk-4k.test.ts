// Images on a file system of 4096-byte sectors, opened with direct=on: written data is read again, by format.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { createImage } from './support/images.ts';
import { attachLoop, mountOn4kSectors } from './support/loop-device.ts';
import { startVmm } from './support/vmm.ts';

const FORMATS = [
  ['raw', 'Raw', []],
  ['qcow2', 'Qcow2', []],
  ['vpc', 'FixedVhd', ['-o', 'subformat=fixed,force_size=on']],
  ['vhdx', 'Vhdx', []],
] as const;

test('images and a block device of 4096-byte sectors work with direct=on', async () => {
  await using vmm = await startVmm();
  using mounted = mountOn4kSectors(vmm.folder, 128);
  const images = FORMATS.map(([format, type, options]) => ({
    path: createImage(join(mounted.path, format), '16M', ['-f', format, ...options]),
    image_type: type,
    direct: true,
  }));
  const below = createImage(join(vmm.folder, 'device'), '16M', ['-f', 'raw', '-o', 'preallocation=full']);
  using loop = attachLoop(below, 4096);
  const disks = [...images, { path: loop.path, direct: true }];
  using shell = await boot(vmm, { disks });
  // a fixed VHD has a footer of 512 bytes
  assert.match(vmm.output(), /vpc: direct=on: it ends within a sector .* opened through the page cache/);
  const names = disks.map((_, i) => `vd${String.fromCharCode('a'.charCodeAt(0) + i)}`);
  const logical = names.map((name) => shell.run(`cat /sys/block/${name}/queue/logical_block_size`));
  // QEMU takes smaller requests than an image's file system: the guest's partitions are where they were
  assert.deepEqual(await Promise.all(logical), ['512', '512', '512', '512', '4096']);
  await shell.run('dd if=/dev/urandom of=/tmp/pattern bs=4096 count=8 2>/dev/null');
  for (const name of names) {
    const write = `dd if=/tmp/pattern of=/dev/${name} bs=4096 count=8 seek=1 oflag=direct conv=fsync 2>/dev/null`;
    const read = `dd if=/dev/${name} bs=4096 count=8 skip=1 iflag=direct 2>/dev/null`;
    assert.equal(await shell.run(`${write}; ${read} | cmp - /tmp/pattern && echo same`), 'same', name);
  }
  const [raw = ''] = names;
  // a sector in the middle of a sector of the host
  await shell.run(`dd if=/tmp/pattern of=/dev/${raw} bs=512 count=1 seek=1001 oflag=direct 2>/dev/null`);
  const sector = await shell.run(
    `dd if=/dev/${raw} bs=512 count=1 skip=1001 iflag=direct 2>/dev/null | cmp -n 512 - /tmp/pattern && echo same`,
  );
  assert.equal(sector, 'same');
  assertStatus(await vmm.put('vm.shutdown'), 204);
  const written = readFileSync(join(mounted.path, 'raw')).subarray(4096, 9 * 4096);
  assert.ok(written.some((byte) => byte !== 0));
  assert.deepEqual(readFileSync(below).subarray(4096, 9 * 4096), written);
  for (const format of ['qcow2', 'vhdx'])
    execFileSync('qemu-img', ['check', '-q', join(mounted.path, format)]);
});
