// Disk space of images on the host: discard, zeroing and growth, by format, and images that are marked corrupt.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { createImage, makeImage } from './support/images.ts';
import { attachLoop } from './support/loop-device.ts';
import type { Shell } from './support/shell.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';

const MIB = 2 ** 20;
const SIZE = 32;

/** Returns the space that a file takes on the host's disk, in MiB. */
const takenBy = (path: string): number => (512 * statSync(path).blocks) / MIB;

function sparseFile(path: string): string {
  makeImage(path, SIZE * MIB);
  return path;
}

/** Sets the mark of a qcow2 image whose structures are damaged: bit 1 of the incompatible features. */
function markCorrupt(path: string): string {
  const [file, byte, at] = [openSync(path, 'r+'), Buffer.alloc(1), 79];
  readSync(file, byte, 0, 1, at);
  writeSync(file, Buffer.from([byte.readUInt8(0) | 2]), 0, 1, at);
  closeSync(file);
  return path;
}

function makeImages({ folder }: TestVmm) {
  const at = (name: string): string => join(folder, name);
  const raw = sparseFile(at('raw'));
  execFileSync('mkfs.ext4', ['-q', raw]);
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, at('qcow2')]);
  const size = `${SIZE}M`;
  return {
    raw,
    qcow2: at('qcow2'),
    vhd: createImage(at('vhd'), size, ['-f', 'vpc', '-o', 'subformat=fixed,force_size=on']),
    vhdx: createImage(at('vhdx'), size, ['-f', 'vhdx']),
    below: sparseFile(at('below')),
    kept: createImage(at('kept'), size, ['-f', 'qcow2']),
    full: sparseFile(at('full')),
    corrupt: markCorrupt(createImage(at('corrupt'), size, ['-f', 'qcow2'])),
  };
}

/** Runs perl on an open disk; returns the error, or nothing. */
const onDisk = (shell: Shell, disk: string, call: string): Promise<string> =>
  shell.run(`perl -e 'open(F, "+<", "/dev/${disk}") or die; ${call} or print "$!"'`);

/** ioctl(BLKZEROOUT) */
const ZERO_4_MIB = 'ioctl(F, 0x127f, $range = pack("QQ", 0, 4 << 20))';
const FALLOCATE = 285;
/** FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE: Linux sends "write zeroes, unmap" to the disk. */
const PUNCH_HOLE = 3;

const zeroes = (shell: Shell, disk: string): Promise<string> =>
  shell.run(`dd if=/dev/${disk} bs=1M count=4 2>/dev/null | tr -d "\\0" | wc -c`);

test('guests trim, zero and fill disks of each format, and the host’s files follow', async (t) => {
  await using vmm = await startVmm();
  const images = makeImages(vmm);
  using loop = attachLoop(images.below, 4096);
  const disks = [
    { path: images.raw },
    { path: images.qcow2, num_queues: 2, image_type: 'Qcow2' },
    { path: images.vhd, image_type: 'FixedVhd' },
    { path: images.vhdx, image_type: 'Vhdx' },
    { path: loop.path, disable_io_uring: true, disable_aio: true },
    { path: images.kept, sparse: false },
    { path: images.full, sparse: false },
    { path: images.corrupt, readonly: true },
  ];
  const cpus = { boot_vcpus: 2, max_vcpus: 2 };
  using shell = await boot(vmm, { disks, cpus }, { tools: true });

  for (const [disk, path] of [
    ['vda', images.raw],
    ['vdb', images.qcow2],
  ] as const)
    await t.test(`space that a file system on ${disk} trims is free on the host`, () =>
      trims(shell, disk, path),
    );
  await t.test(
    'a fixed VHD is trimmed as a raw image is; a VHDX offers no trimming, and works on',
    async () => {
      await shell.run(`dd if=/dev/urandom of=/dev/vdc bs=1M count=${SIZE} conv=fsync 2>/dev/null`);
      assert.ok(takenBy(images.vhd) >= SIZE);
      assert.equal(await shell.run('blkdiscard /dev/vdc; echo $?'), '0');
      assert.ok(takenBy(images.vhd) < 1);
      assert.equal(await shell.run('cat /sys/block/vdd/queue/discard_max_bytes'), '0');
      assert.notEqual(await shell.run('blkdiscard -o 0 -l 4096 /dev/vdd 2>/dev/null; echo $?'), '0');
    },
  );
  await t.test('a dynamic VHDX grows by what is written', async () => {
    assert.ok(statSync(images.vhdx).size < 10 * MIB);
    await shell.run(`dd if=/dev/urandom of=/dev/vdd bs=1M count=${SIZE} conv=fsync 2>/dev/null`);
    assert.ok(statSync(images.vhdx).size > SIZE * MIB);
  });
  await t.test('a block device is zeroed, and a hole in it is free on the host', () =>
    zeroesDevice(shell, images.below),
  );
  await t.test(
    'with sparse=off a raw disk has all its blocks, and none can be discarded; zeroing works',
    async () => {
      assert.ok(takenBy(images.full) >= SIZE);
      for (const disk of ['vdf', 'vdg']) {
        assert.equal(await shell.run(`cat /sys/block/${disk}/queue/discard_max_bytes`), '0');
        await shell.run(`dd if=/dev/urandom of=/dev/${disk} bs=1M count=4 conv=fsync 2>/dev/null`);
        assert.equal(await onDisk(shell, disk, ZERO_4_MIB), '');
        assert.equal(await zeroes(shell, disk), '0');
      }
      assert.ok(takenBy(images.full) >= SIZE);
    },
  );
  await t.test('an image that is marked corrupt can be read, and not written', async () => {
    assert.equal(await shell.run('cat /sys/block/vdh/ro'), '1');
    assert.equal(await zeroes(shell, 'vdh'), '0');
    assertStatus(await vmm.put('vm.remove-device', { id: '_disk7' }), 204);
    const refused = await vmm.put('vm.add-disk', { path: images.corrupt });
    assertRefused(refused, 500, /corrupt/i);
  });
  await t.test('the images are whole afterwards', async () => {
    assertStatus(await vmm.put('vm.shutdown'), 204);
    for (const path of [images.qcow2, images.kept, images.vhdx])
      execFileSync('qemu-img', ['check', '-q', path]);
    const map = execFileSync('qemu-img', ['map', '--output=json', images.kept], { encoding: 'utf8' });
    assert.ok(
      (JSON.parse(map) as { zero: boolean }[]).every(({ zero }) => zero),
      'what was zeroed is marked as zero',
    );
  });
});

async function trims(shell: Shell, disk: string, path: string): Promise<void> {
  await shell.run(`modprobe ext4; mkdir -p /mnt/${disk}; mount -t ext4 /dev/${disk} /mnt/${disk}`);
  const before = takenBy(path);
  await shell.run(`dd if=/dev/urandom of=/mnt/${disk}/file bs=1M count=16 conv=fsync 2>/dev/null`);
  assert.ok(takenBy(path) > before + 12, `${takenBy(path)} MiB`);
  await shell.run(`rm /mnt/${disk}/file; sync`);
  assert.match(await shell.run(`fstrim -v /mnt/${disk}`), /: [1-9]\d+ bytes/);
  assert.ok(takenBy(path) <= before + 1, `${takenBy(path)} MiB of ${before} before`);
  assert.equal(await shell.run(`umount /mnt/${disk} && echo done`), 'done');
}

async function zeroesDevice(shell: Shell, below: string): Promise<void> {
  const fill = 'dd if=/dev/urandom of=/dev/vde bs=1M count=8 conv=fsync 2>/dev/null';
  await shell.run(fill);
  assert.equal(await onDisk(shell, 'vde', ZERO_4_MIB), '');
  assert.equal(await zeroes(shell, 'vde'), '0');
  await shell.run(fill);
  const before = takenBy(below);
  const hole = `syscall(${FALLOCATE}, fileno(F), ${PUNCH_HOLE}, 0, 4 << 20) == 0`;
  assert.equal(await onDisk(shell, 'vde', hole), '');
  assert.equal(await zeroes(shell, 'vde'), '0');
  assert.ok(takenBy(below) <= before - 4, `${takenBy(below)} MiB of ${before}`);
}
