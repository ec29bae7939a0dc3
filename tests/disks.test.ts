// Disks of every format and their limits, seen from inside the guest; images that are refused, seen on the host.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasIoUring } from '../src/host/disk/io-uring.ts';
import { assertRefused, assertStatus, messagesOf } from './support/answers.ts';
import { createAndBoot, deleteVm, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { createImage, makeImage, writeFirstSector } from './support/images.ts';
import { descriptorsOf, openFlagsOf, qemuOf } from './support/processes.ts';
import type { Shell } from './support/shell.ts';
import { countersOf, infoOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;

type Disk = Readonly<Record<string, unknown>>;
async function boot(vmm: TestVmm, disks: readonly Disk[], vcpus = 1): Promise<Shell> {
  const cpus = { boot_vcpus: vcpus, max_vcpus: vcpus };
  await createAndBoot(vmm, guestConfig({ disks, cpus }));
  return login(vmm);
}

/** The disks of one guest: an image of every format, in a folder whose name is awkward. */
function makeImages(vmm: TestVmm): Record<'raw' | 'fixed' | 'dynamic' | 'vhdx' | 'top' | 'odd', string> {
  const folder = join(vmm.folder, 'images, "all" of Ω');
  mkdirSync(folder);
  const at = (name: string): string => join(folder, name);
  const raw = createImage(at('a=b,c.raw'), '16M', ['-f', 'raw']);
  const fixed = createImage(at('fixed.vhd'), '16M', ['-f', 'vpc', '-o', 'subformat=fixed,force_size=on']);
  const dynamic = createImage(at('dynamic.vhd'), '16M', ['-f', 'vpc', '-o', 'force_size=on']);
  const vhdx = createImage(at('disk.vhdx'), '16M', ['-f', 'vhdx']);
  const base = createImage(at('base.raw'), '16M', ['-f', 'raw']);
  createImage(at('middle.qcow2'), '16M', ['-f', 'qcow2', '-b', base, '-F', 'raw']);
  const top = createImage(at('top.qcow2'), '16M', ['-f', 'qcow2', '-b', 'middle.qcow2', '-F', 'qcow2']);
  const odd = at('odd.raw');
  makeImage(odd, 16 * MIB + 100, 'odd');
  writeFirstSector(raw, 'raw', 'this is raw');
  writeFirstSector(fixed, 'raw', 'this is fixed');
  writeFirstSector(dynamic, 'vpc', 'this is dynamic');
  writeFirstSector(vhdx, 'vhdx', 'this is vhdx');
  // the content of the backing file begins like qcow2: its overlay says that it is raw
  writeFirstSector(base, 'raw', 'QFI\xfb is base');
  return { raw, fixed, dynamic, vhdx, top, odd };
}

test('disks of every format', async (t) => {
  await using vmm = await startVmm();
  const { raw, fixed, dynamic, vhdx, top, odd } = makeImages(vmm);
  using shell = await boot(
    vmm,
    [
      { path: raw, num_queues: 2, queue_size: 64, direct: true },
      { path: fixed },
      { path: dynamic },
      { path: vhdx, disable_io_uring: true },
      {
        path: top,
        image_type: 'Qcow2',
        num_queues: 2,
        rate_limiter_config: { ops: { size: 1e6, refill_time: 1000 } },
      },
      { path: odd, readonly: true },
      { path: odd, readonly: true },
    ],
    2,
  );
  await t.test('each has the size of its image', async () => {
    assert.equal(
      await shell.run('for d in a b c d e f g; do cat /sys/block/vd$d/size; done | tr "\\n" " "'),
      '32768 '.repeat(7).trimEnd(),
    );
  });
  const first = async (disk: string, bytes: number): Promise<string> =>
    shell.run(`head -c ${bytes} /dev/${disk} | tr -d '\\373'`);
  for (const [disk, text] of [
    ['vda', 'this is raw'],
    ['vdb', 'this is fixed'],
    ['vdc', 'this is dynamic'],
    ['vdd', 'this is vhdx'],
    ['vdg', 'odd'],
  ] as const) {
    await t.test(`${disk} has the contents of its image: ${text}`, async () => {
      assert.equal(await first(disk, text.length), text);
    });
  }
  await t.test('a backing file that is declared raw stays raw, although it begins like qcow2', async () => {
    assert.match(await first('vde', 13), /^QFI.* is ba/);
  });
  await t.test('num_queues and queue_size reach the driver', async () => {
    assert.equal(await shell.run('ls /sys/block/vda/mq | wc -l; ls /sys/block/vde/mq | wc -l'), '2\n2');
    assert.equal(await shell.run('cat /sys/block/vda/queue/nr_requests'), '64');
  });
  await t.test('the default serial number is made from device and inode of the image', async () => {
    const { dev, rdev, ino } = statSync(raw, { bigint: true });
    assert.equal(await shell.run('cat /sys/block/vda/serial'), `${dev}${rdev}${ino}`.slice(0, 20));
  });
  await t.test('readonly disks are read-only', async () => {
    assert.equal(await shell.run('cat /sys/block/vde/ro /sys/block/vdf/ro'), '0\n1');
  });
  await t.test('direct opens the image with O_DIRECT', () => {
    const flags = openFlagsOf(qemuOf(vmm.pid), raw);
    assert.ok(
      flags.some((one) => (one & 0o40000) !== 0),
      `no O_DIRECT in ${flags.join()}`,
    );
  });
  const footer = readFileSync(fixed).subarray(-512);
  for (const disk of ['a', 'b', 'c', 'd', 'e']) {
    await shell.run(
      `echo "written ${disk}" | dd of=/dev/vd${disk} bs=512 seek=32767 conv=sync,fsync 2>/dev/null`,
    );
  }
  await t.test('vm.counters count the reads and writes of each disk', async () => {
    const counters = await countersOf(vmm);
    assert.ok((counters['_disk4']?.['write_bytes'] ?? 0) >= 512, JSON.stringify(counters));
    assert.ok((counters['_disk4']?.['read_ops'] ?? 0) > 0 && (counters['_disk0']?.['write_ops'] ?? 0) > 0);
    assert.equal(counters['_disk5']?.['write_ops'], 0);
  });
  assertStatus(await vmm.put('vm.shutdown'), 204);
  await t.test('writes to a raw image are in the image', () => {
    assert.equal(readFileSync(raw).toString('latin1', 16 * MIB - 512, 16 * MIB - 503), 'written a');
  });
  await t.test('writes to a fixed VHD are in the image, and its footer is unchanged', () => {
    assert.equal(readFileSync(fixed).toString('latin1', 16 * MIB - 512, 16 * MIB - 503), 'written b');
    assert.deepEqual(readFileSync(fixed).subarray(-512), footer);
  });
});

/** Seconds that a command takes in the guest, by its own clock. */
async function secondsOf(shell: Shell, command: string): Promise<number> {
  const text = await shell.run(
    `read a b </proc/uptime; ${command} 2>/dev/null || echo failed; read c d </proc/uptime; echo $a $c`,
  );
  const [from = NaN, to = NaN] = text.split(' ').map(Number);
  return to - from;
}

const LIMITS = {
  bandwidth: { size: MIB, refill_time: 1000, one_time_burst: 2 * MIB },
  ops: { size: 1000, refill_time: 100, one_time_burst: 5 },
};

test('rate limits of disks', async (t) => {
  await using vmm = await startVmm();
  const disks = ['bytes', 'ops', 'burst', 'raw', 'ops-burst'].map((name) =>
    createImage(join(vmm.folder, `${name}.raw`), '64M', ['-f', 'raw']),
  );
  const [bytes = '', ops = '', burst = '', raw = '', opsBurst = ''] = disks;
  using shell = await boot(vmm, [
    { path: bytes, rate_limiter_config: { bandwidth: { size: 4 * MIB, refill_time: 2000 } } },
    { path: ops, rate_limiter_config: { ops: { size: 50, refill_time: 1000 } } },
    {
      path: burst,
      rate_limiter_config: { bandwidth: { size: 2 * MIB, one_time_burst: 24 * MIB, refill_time: 2000 } },
    },
    { path: raw, readonly: false },
    { path: opsBurst, rate_limiter_config: { ops: { size: 50, one_time_burst: 400, refill_time: 1000 } } },
  ]);
  const read = (disk: string, block: string, count: number): string =>
    `dd if=/dev/${disk} of=/dev/null bs=${block} count=${count} iflag=direct`;

  await t.test('bandwidth is limited to size per refill_time', async () => {
    // 4 MiB at once, then 2 MiB a second; the kernel's scan of the partitions used a little of the first
    await shell.run(`${read('vda', '256k', 16)} 2>/dev/null`);
    const bandwidth = 12 / (await secondsOf(shell, read('vda', '256k', 48)));
    assert.ok(bandwidth > 1.8 && bandwidth < 2.2, `${bandwidth} MiB/s instead of 2`);
  });
  await t.test('operations are limited to size per refill_time', async () => {
    await shell.run(`${read('vdb', '4k', 50)} 2>/dev/null`);
    const rate = 200 / (await secondsOf(shell, read('vdb', '4k', 200)));
    assert.ok(rate > 45 && rate < 55, `${rate} operations/s instead of 50`);
  });
  await t.test('a one_time_burst of bandwidth has no limit, and the limit holds after it', async () => {
    // at 1 MiB a second 22 MiB would take 20 s and more
    const atOnce = await secondsOf(shell, read('vdc', '256k', 88));
    assert.ok(atOnce < 5, `the burst took ${atOnce} s`);
    await shell.run(`${read('vdc', '256k', 20)} 2>/dev/null`);
    const after = 6 / (await secondsOf(shell, read('vdc', '256k', 24)));
    assert.ok(after > 0.9 && after < 1.1, `${after} MiB/s after the burst instead of 1`);
  });
  await t.test('a one_time_burst of operations has no limit, and the limit holds after it', async () => {
    // at 50 operations a second 350 would take 7 s
    const opsAtOnce = await secondsOf(shell, read('vde', '4k', 350));
    assert.ok(opsAtOnce < 3.5, `the burst of operations took ${opsAtOnce} s`);
    await shell.run(`${read('vde', '4k', 120)} 2>/dev/null`);
    const opsAfter = 100 / (await secondsOf(shell, read('vde', '4k', 100)));
    assert.ok(opsAfter > 45 && opsAfter < 55, `${opsAfter} operations/s after the burst instead of 50`);
  });
  await t.test('a limited disk with a backing file is removed whole: its id is free again', () =>
    replugsLimitedDisk(vmm, shell),
  );
  await t.test('a raw disk stays raw after its guest wrote a qcow2 header', () => staysRaw(vmm, shell));
});

async function staysRaw(vmm: TestVmm, shell: Shell): Promise<void> {
  await shell.run(`printf 'QFI\\373 and no qcow2' | dd of=/dev/vdd conv=fsync 2>/dev/null`);
  assertStatus(await vmm.put('vm.shutdown'), 204);
  assert.match(vmm.output(), /disk _disk3: .*raw, but looks like Qcow2/);
  assert.equal((await infoOf(vmm)).config.disks?.[3]?.image_type, 'Raw');
  assertStatus(await vmm.put('vm.boot'), 204);
  using again = await login(vmm);
  assert.equal(await again.run('head -c 17 /dev/vdd | tail -c 12'), 'and no qcow2');
}

async function replugsLimitedDisk(vmm: TestVmm, shell: Shell): Promise<void> {
  const hot = {
    path: join(vmm.folder, 'hot.qcow2'),
    id: 'hot',
    image_type: 'Qcow2',
    readonly: true,
    rate_limiter_config: LIMITS,
  };
  createImage(hot.path, '64M', ['-f', 'qcow2', '-b', join(vmm.folder, 'base.raw'), '-F', 'raw', '-u']);
  createImage(join(vmm.folder, 'base.raw'), '64M', ['-f', 'raw']);
  for (let round = 0; round < 2; round++) {
    assertStatus(await vmm.put('vm.add-disk', hot), 200);
    await until('the disk is there', async () => (await shell.run('ls /sys/block')).includes('vdf'));
    assertStatus(await vmm.put('vm.remove-device', { id: 'hot' }), 204);
    await until('the disk is removed', async () => !('hot' in (await countersOf(vmm))));
  }
}

test('images that cannot be opened are refused with the reason', async (t) => {
  await using vmm = await startVmm();
  const inside = join(vmm.folder, 'in, side');
  mkdirSync(inside);
  const at = (name: string): string => join(inside, name);
  const outside = createImage(join(vmm.folder, 'outside.raw'), '1M', ['-f', 'raw']);
  const stray = createImage(at('stray.qcow2'), '1M', ['-f', 'qcow2', '-b', outside, '-F', 'raw']);
  const loop = createImage(at('loop.qcow2'), '1M', ['-f', 'qcow2', '-u', '-b', 'loop.qcow2', '-F', 'qcow2']);
  const lost = createImage(at('lost.qcow2'), '1M', ['-f', 'qcow2', '-u', '-b', 'gone.raw', '-F', 'raw']);
  const remote = createImage(at('remote.qcow2'), '1M', ['-f', 'qcow2', '-u', '-b', 'nbd://h/x', '-F', 'raw']);
  const split = createImage(at('split.qcow2'), '1M', [
    '-f',
    'qcow2',
    '-o',
    `data_file=${join(vmm.folder, 'data.raw')}`,
  ]);
  const torn = at('torn.vhdx');
  makeImage(torn, 4 * MIB, 'vhdxfile');
  const raw = createImage(at('disk.raw'), '1M', ['-f', 'raw']);
  const refused: readonly (readonly [readonly Disk[], string])[] = [
    [
      [{ path: stray, image_type: 'Qcow2' }],
      `_disk0: ${stray}: its backing file ${outside} is in another folder (backing_files=on`,
    ],
    [[{ path: stray }], `_disk0: ${stray}: was not declared but detected as Qcow2`],
    [[{ path: loop, image_type: 'Qcow2' }], `_disk0: ${loop}: is its own backing file`],
    [
      [{ path: lost, image_type: 'Qcow2' }],
      `_disk0: ${lost}: its backing file ${at('gone.raw')}: no such file or directory`,
    ],
    [
      [{ path: remote, image_type: 'Qcow2' }],
      `_disk0: ${remote}: its backing file "nbd://h/x" is no file name`,
    ],
    [[{ path: split }], `_disk0: ${split}: keeps its data in another file`],
    [[{ path: torn }], `_disk0: ${torn}: `],
    [[{ path: raw, image_type: 'Qcow2' }], `_disk0: ${raw}: is no Qcow2 image`],
    [[{ path: '/proc/version', direct: true, readonly: true }], '_disk0: /proc/version: '],
    [[{ path: raw }, { path: raw }], `_disk1: ${raw}: is in use by another disk or process`],
  ];
  for (const [disks, reason] of refused) {
    await t.test(reason.replaceAll(inside, '').slice(0, 80), async () => {
      await deleteVm(vmm);
      assertStatus(await vmm.put('vm.create', guestConfig({ disks })), 204);
      const answer = await vmm.put('vm.boot');
      assertStatus(answer, 500);
      const [, text = ''] = messagesOf(answer);
      assert.ok(text.startsWith(`disk ${reason}`), `${text} instead of ${reason}`);
      assertStatus(await vmm.put('vm.delete'), 204);
    });
  }
  await deleteVm(vmm);
  const disk = { path: stray, backing_files: true };
  await createAndBoot(vmm, guestConfig({ disks: [{ ...disk, disable_io_uring: true }] }));
  const rings = (): boolean => descriptorsOf(qemuOf(vmm.pid)).includes('anon_inode:[io_uring]');
  await t.test('with disable_io_uring QEMU opens no ring', () => assert.equal(rings(), false));
  await t.test('without disable_io_uring QEMU opens a ring where the host has io_uring', async () => {
    assertStatus(await vmm.put('vm.add-disk', { path: raw }), 200);
    assert.equal(rings(), await hasIoUring());
  });
  await t.test('an image that a disk of the VM has open is refused', async () => {
    assertRefused(await vmm.put('vm.add-disk', disk), 500, /is in use by another disk or process/);
  });
});
