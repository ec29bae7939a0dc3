// Blocks of disks: those that a guest discards are free on the host, and sizes of block devices reach the guest.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { makeImage } from './support/images.ts';
import { attachLoop } from './support/loop-device.ts';
import { openShell } from './support/shell.ts';
import { ptyOf } from './support/vm-info.ts';
import { makeFolder, startVmm } from './support/vmm.ts';

const MIB = 2 ** 20;
const SIZE = 16 * MIB;

/** A file whose blocks are all there. */
function fullFile(path: string): string {
  writeFileSync(path, Buffer.alloc(SIZE, 0xa5));
  return path;
}

/** Returns the space that a file takes on the host's disk, in `bytes`. */
function takenBy(path: string): number {
  return 512 * statSync(path).blocks;
}

test('guest discards free blocks of the host, unless sparse=off', async () => {
  await using vmm = await startVmm();
  const place = (name: string): string => join(vmm.folder, name);
  const raw = fullFile(place('raw'));
  const kept = fullFile(place('kept'));
  const below = fullFile(place('below'));
  const qcow2 = place('qcow2');
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
  using loop = attachLoop(below, 4096);
  using shell = await boot(vmm, {
    disks: [{ path: raw }, { path: qcow2 }, { path: loop.path }, { path: kept, sparse: false }],
  });
  const before = [raw, qcow2, below, kept].map(takenBy);
  assert.ok(
    before.every((bytes) => bytes >= SIZE),
    String(before),
  );
  for (const disk of ['vda', 'vdb', 'vdc'])
    assert.equal(await shell.run(`blkdiscard /dev/${disk}; echo $?`), '0');
  for (const file of [raw, qcow2, below]) assert.ok(takenBy(file) < MIB, `${file}: ${takenBy(file)}`);
  assert.equal(await shell.run('cat /sys/block/vdd/queue/discard_max_bytes'), '0');
  assert.equal(takenBy(kept), before[3]);
});

test('block and I/O sizes of a block device are in the guest, also in a clone', async () => {
  await using vmm = await startVmm();
  const below = join(vmm.folder, 'below');
  makeImage(below, SIZE);
  const image = join(vmm.folder, 'image');
  makeImage(image, SIZE);
  using loop = attachLoop(below, 4096);
  const name = loop.path.slice('/dev/'.length);
  const look = 'cat logical_block_size physical_block_size minimum_io_size optimal_io_size';
  const host = execFileSync('sh', ['-c', `cd /sys/block/${name}/queue && ${look}`], {
    encoding: 'utf8',
  }).trim();
  assert.match(host, /^4096\n/);
  using shell = await boot(vmm, {
    disks: [
      { path: loop.path, id: 'disk' },
      { path: image, id: 'image' },
    ],
  });
  assert.equal(await shell.run(`cd /sys/block/vda/queue && ${look}; cd /`), host);
  assert.match(await shell.run(`cd /sys/block/vdb/queue && ${look}; cd /`), /^512\n/);

  const folder = makeFolder();
  mkdirSync(join(folder, 'snapshot'));
  const url = `file://${join(folder, 'snapshot')}`;
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: url }), 204);
  assertStatus(await vmm.put('vm.delete'), 204);
  const copy = join(vmm.folder, 'copy');
  execFileSync('cp', [below, copy]);
  const overrides = { disks: [{ id: 'disk', path: copy, image_type: 'Raw' }] };
  assertStatus(await vmm.put('vm.restore', { source_url: url, overrides, resume: true }), 204);
  using clone = openShell(await ptyOf(vmm));
  assert.equal(await clone.run('dd if=/dev/vda of=/dev/null bs=4k count=16 2>/dev/null; echo $?'), '0');
  assert.equal(await clone.run('blockdev --getss /dev/vda'), '4096');
});
