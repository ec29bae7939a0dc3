// Rate limit groups of disks, measured by the guest's clock.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus, messagesOf } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { createImage } from './support/images.ts';
import type { Shell } from './support/shell.ts';
import { restore } from './support/snapshots.ts';
import { countersOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;

const GROUPS = [
  { id: 'two MiB, "é"', rate_limiter_config: { bandwidth: { size: 2 * MIB, refill_time: 1000 } } },
  {
    id: 'fifty',
    rate_limiter_config: { ops: { size: 50, one_time_burst: 400, refill_time: 1000 } },
  },
];

/**
 * Seconds in which all commands end that are started together, by the guest's own clock. `before` uses up the burst that a group
 * has had time to gather: in the same line, as a busy host may let time pass between two.
 */
async function secondsOf(shell: Shell, commands: readonly string[], before = 'true'): Promise<number> {
  const all = commands.map((command) => `${command} 2>/dev/null &`).join(' ');
  const text = await shell.run(
    `${before} 2>/dev/null; read a b </proc/uptime; ${all} wait; read c d </proc/uptime; echo $a $c`,
  );
  const [from = NaN, to = NaN] = text.split(' ').map(Number);
  return to - from;
}

const read = (disk: string, block: string, count: number): string =>
  `dd if=/dev/${disk} of=/dev/null bs=${block} count=${count} iflag=direct`;

test('disks of a rate limit group share its limits and its burst', async () => {
  await using vmm = await startVmm();
  const [a, b, c, d, hot] = ['a', 'b', 'c', 'd', 'hot'].map((name) => ({
    path: createImage(join(vmm.folder, `${name}.raw`), '64M', ['-f', 'raw']),
  }));
  const [bytes, ops] = GROUPS.map(({ id }) => ({ rate_limit_group: id }));
  using shell = await boot(vmm, {
    rate_limit_groups: GROUPS,
    disks: [
      { ...a, ...bytes },
      { ...b, ...bytes },
      { ...c, ...ops },
      { ...d, ...ops },
    ],
  });

  const burst = read('vda', '256k', 12);
  const alone = 8 / (await secondsOf(shell, [read('vda', '256k', 32)], burst));
  assert.ok(alone > 1.8 && alone < 2.2, `${alone} MiB/s of one disk instead of 2`);
  const together = 8 / (await secondsOf(shell, [read('vda', '256k', 16), read('vdb', '256k', 16)], burst));
  assert.ok(together > 1.8 && together < 2.2, `${together} MiB/s of two disks instead of 2`);

  // at 50 a second 350 operations would take 7 s; the two have one burst between them
  const atOnce = await secondsOf(shell, [read('vdc', '4k', 175), read('vdd', '4k', 175)]);
  assert.ok(atOnce < 3.5, `the burst took ${atOnce} s`);
  const more = read('vdc', '4k', 120);
  const after = 200 / (await secondsOf(shell, [read('vdc', '4k', 100), read('vdd', '4k', 100)], more));
  assert.ok(after > 45 && after < 55, `${after} operations/s after the burst instead of 50`);

  const added = await vmm.put('vm.add-disk', { ...hot, ...bytes, id: 'hot' });
  assertStatus(added, 200);
  await until('the disk is there', async () => (await shell.run('ls /sys/block')).includes('vde'));
  const late = read('vde', '256k', 12);
  const three = 8 / (await secondsOf(shell, [read('vda', '256k', 16), read('vde', '256k', 16)], late));
  assert.ok(three > 1.8 && three < 2.2, `${three} MiB/s with the disk that came later instead of 2`);
  const unknown = await vmm.put('vm.add-disk', { ...hot, rate_limit_group: 'none' });
  assertRefused(unknown, 400, /there is no rate limit group "none"/);

  // a group outlives the disks that use it
  assertStatus(await vmm.put('vm.remove-device', { id: 'hot' }), 204);
  await until('the disk is gone', async () => !('hot' in (await countersOf(vmm))));
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  const rebooted = 8 / (await secondsOf(shell, [read('vda', '256k', 16), read('vdb', '256k', 16)], burst));
  assert.ok(rebooted > 1.8 && rebooted < 2.2, `${rebooted} MiB/s after the reboot instead of 2`);
});

test('a restored VM has its rate limit groups, also for hot-plugged disks', async () => {
  await using vmm = await startVmm();
  const [a, b, hot] = ['a', 'b', 'hot'].map((name) => ({
    path: createImage(join(vmm.folder, `${name}.raw`), '64M', ['-f', 'raw']),
    rate_limit_group: GROUPS[0]?.id,
  }));
  const folder = join(vmm.folder, 'snapshot');
  mkdirSync(folder);
  {
    using _shell = await boot(vmm, { rate_limit_groups: GROUPS, disks: [a, b] });
    assertStatus(await vmm.put('vm.pause'), 204);
    assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${folder}` }), 204);
    assertStatus(await vmm.put('vm.delete'), 204);
  }
  using shell = await restore(vmm, folder);
  assertStatus(await vmm.put('vm.add-disk', { ...hot, id: 'hot' }), 200);
  await until('the disk is there', async () => (await shell.run('ls /sys/block')).includes('vdc'));
  for (const disks of [['vda'], ['vda', 'vdb'], ['vdb', 'vdc']]) {
    const reads = disks.map((disk) => read(disk, '256k', 32 / disks.length));
    const seconds = await secondsOf(shell, reads, read('vda', '256k', 12));
    const rate = 8 / seconds;
    assert.ok(rate > 1.8 && rate < 2.2, `${rate} MiB/s of ${disks.join(' and ')} instead of 2`);
  }
});

test('invalid rate limit groups are refused by name', async () => {
  await using vmm = await startVmm();
  const limits = { ops: { size: 9, refill_time: 100 } };
  for (const [more, status, message] of [
    [{ rate_limit_groups: [GROUPS[1], GROUPS[1]] }, 400, 'rate_limit_groups[1].id: "fifty" is taken'],
    [{ disks: [{ path: '/x', rate_limit_group: 'g' }] }, 400, 'there is no rate limit group "g"'],
    [
      {
        rate_limit_groups: GROUPS,
        disks: [{ path: '/x', rate_limit_group: 'fifty', rate_limiter_config: limits }],
      },
      400,
      'disks[0].rate_limit_group: the disk has limits of its own',
    ],
  ] as const) {
    const answer = await vmm.put('vm.create', guestConfig(more));
    assertStatus(answer, status);
    assert.ok(messagesOf(answer).join().includes(message), JSON.stringify(answer.json));
  }
});

test('disks of a group share a burst of bytes', async () => {
  await using vmm = await startVmm();
  const [a, b] = ['a', 'b'].map((name) => ({
    path: createImage(join(vmm.folder, `${name}.raw`), '64M', ['-f', 'raw']),
    rate_limit_group: 'g',
  }));
  const bandwidth = { size: 2 * MIB, one_time_burst: 24 * MIB, refill_time: 2000 };
  using shell = await boot(vmm, {
    rate_limit_groups: [{ id: 'g', rate_limiter_config: { bandwidth } }],
    disks: [a, b],
  });
  // at 1 MiB a second 22 MiB would take 20 s and more
  const atOnce = await secondsOf(shell, [read('vda', '256k', 44), read('vdb', '256k', 44)]);
  assert.ok(atOnce < 5, `the burst took ${atOnce} s`);
  const more = read('vda', '256k', 20);
  const after = 6 / (await secondsOf(shell, [read('vda', '256k', 12), read('vdb', '256k', 12)], more));
  assert.ok(after > 0.9 && after < 1.1, `${after} MiB/s after the burst instead of 1`);
});
