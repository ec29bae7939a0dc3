// qcow2 images under parallel load from several queues: the data, and the images' tables afterwards.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { makeImage } from './support/images.ts';
import type { Shell } from './support/shell.ts';
import { startVmm } from './support/vmm.ts';

const QUEUES = 4;
const JOBS = 8;

/** Runs a command for each number, all at once; prints the number of failures. */
function together(shell: Shell, numbers: readonly number[], command: string): Promise<string> {
  const one = `for i in ${numbers.join(' ')}; do ( ${command} ) >/dev/null 2>&1 || echo $i >>/tmp/failed & done; wait`;
  return shell.run(`rm -f /tmp/failed; ${one}; cat /tmp/failed 2>/dev/null | wc -l`, 240_000);
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);
const ALL = range(1, JOBS);

test('qcow2 images under parallel load of several queues', async (t) => {
  await using vmm = await startVmm();
  const at = (name: string): string => join(vmm.folder, name);
  const empty = at('empty.raw');
  makeImage(empty, 128 * 2 ** 20);
  execFileSync('mkfs.ext4', ['-q', empty]);
  const convert = (name: string, ...more: string[]): string => {
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...more, empty, at(name)]);
    return at(name);
  };
  const [files, base, blocks] = [convert('files'), convert('base', '-c'), at('blocks')];
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', at('overlay')]);
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', blocks, '512M']);
  const digest = (): string => createHash('sha256').update(readFileSync(base)).digest('hex');
  const before = digest();
  const disks = [files, at('overlay'), blocks].map((path) => ({
    path,
    image_type: 'Qcow2',
    num_queues: QUEUES,
    backing_files: path === at('overlay'),
  }));
  using shell = await boot(vmm, { cpus: { boot_vcpus: QUEUES, max_vcpus: QUEUES }, disks });
  assert.equal(await shell.run('ls /sys/block/vda/mq | wc -l'), String(QUEUES));
  await shell.run(
    'modprobe ext4; mkdir /a /b; mount -t ext4 -o discard /dev/vda /a; mount -t ext4 /dev/vdb /b',
  );

  for (const [folder, what] of [
    ['/a', 'an image'],
    ['/b', 'an overlay of a compressed image'],
  ] as const)
    await t.test(`${what}: files that are written, read and deleted together`, () => filesOf(shell, folder));
  await t.test('folders and small files that are made, moved and deleted together', () => metadata(shell));
  await t.test('many flushes', async () => {
    const command = 'for j in $(seq 10); do echo $j >/a/flush$i-$j; sync /a/flush$i-$j; done';
    assert.equal(await together(shell, ALL, command), '0');
    assert.equal(await shell.run('ls /a/flush* | wc -l'), String(10 * JOBS));
  });
  await t.test('blocks far apart and in no order, with discards between them', () => blocksOf(shell));
  await t.test('the tables are whole, and the backing file is as before', async () => {
    assert.equal(await shell.run('umount /a /b && echo done'), 'done');
    assertStatus(await vmm.put('vm.shutdown'), 204);
    for (const path of [files, at('overlay'), blocks]) execFileSync('qemu-img', ['check', '-q', path]);
    assert.equal(digest(), before);
  });
});

async function filesOf(shell: Shell, folder: string): Promise<void> {
  const write = `dd if=/dev/urandom of=${folder}/file$i bs=1M count=4 conv=fsync && sha256sum ${folder}/file$i >${folder}/sum$i`;
  assert.equal(await together(shell, ALL, write), '0');
  await shell.run('echo 3 >/proc/sys/vm/drop_caches');
  const mixed = `if [ $i -le ${JOBS} ]; then sha256sum -c ${folder}/sum$i; else dd if=/dev/urandom of=${folder}/file$i bs=64k count=32 conv=fsync; fi`;
  assert.equal(await together(shell, range(1, 2 * JOBS), mixed), '0');
  const half = `if [ $((i % 2)) = 0 ]; then rm ${folder}/file$i; else sha256sum -c ${folder}/sum$i; fi`;
  assert.equal(await together(shell, ALL, half), '0');
  assert.match(await shell.run(`fstrim -v ${folder}`), /: [1-9]\d+ bytes/);
  assert.equal(await shell.run(`ls ${folder}/file* | wc -l`), String(JOBS + JOBS / 2));
}

async function metadata(shell: Shell): Promise<void> {
  assert.equal(await together(shell, ALL, 'for j in $(seq 10); do mkdir -p /a/dir$i/$j; done'), '0');
  assert.equal(await together(shell, ALL, 'for j in $(seq 10); do echo $i-$j >/a/dir$i/$j/file; done'), '0');
  const change = `if [ $i -le 4 ]; then rm -r /a/dir$i; else for j in $(seq 10); do mv /a/dir$i/$j /a/dir$i/new$j; done; fi`;
  assert.equal(await together(shell, ALL, change), '0');
  assert.equal(await shell.run('cat /a/dir*/new*/file | wc -l'), '40');
  assert.equal(await shell.run('cat /a/dir8/new10/file'), '8-10');
}

/** Each job has 64 MiB of the disk: 4 MiB at its beginning, and blocks of 4 KiB behind them. */
async function blocksOf(shell: Shell): Promise<void> {
  const first =
    'dd if=/dev/urandom of=/tmp/data$i bs=1M count=4 && dd if=/tmp/data$i of=/dev/vdc bs=1M seek=$((i * 64 - 64)) conv=notrunc,fsync';
  assert.equal(await together(shell, ALL, first), '0');
  const small =
    'for j in 17 3 99 54 8 40; do dd if=/tmp/data$i of=/dev/vdc bs=4k count=1 seek=$((i * 16384 - 16384 + 2048 + j * 100)) conv=notrunc; done; sync';
  assert.equal(await together(shell, ALL, small), '0');
  // blkdiscard opens the disk for itself alone: one job does it for all
  const half =
    'if [ $i = 2 ]; then for k in 2 4 6 8; do blkdiscard -o $(((k * 64 - 64) * 1048576)) -l 4194304 /dev/vdc || exit 1; done; fi; if [ $((i % 2)) = 1 ]; then dd if=/tmp/data$i of=/dev/vdc bs=1M seek=$((i * 64 - 32)) conv=notrunc,fsync; fi';
  assert.equal(await together(shell, ALL, half), '0');
  await shell.run('echo 3 >/proc/sys/vm/drop_caches');
  const kept =
    'if [ $((i % 2)) = 1 ]; then for at in $((i * 64 - 64)) $((i * 64 - 32)); do dd if=/dev/vdc bs=1M skip=$at count=4 | cmp - /tmp/data$i || exit 1; done; fi';
  assert.equal(await together(shell, ALL, kept), '0');
  const blocks =
    'for j in 17 3 99 54 8 40; do dd if=/dev/vdc bs=4k count=1 skip=$((i * 16384 - 16384 + 2048 + j * 100)) | cmp -n 4096 - /tmp/data$i || exit 1; done';
  assert.equal(await together(shell, ALL, blocks), '0');
}
