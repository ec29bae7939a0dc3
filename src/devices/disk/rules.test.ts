import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { decode } from '../../schema/decode.ts';
import { DiskConfig } from './config.ts';
import { disk } from './index.ts';
import { checkQueueAffinity } from './rules.ts';

const backEnd = { vhost_user: true, vhost_socket: '/s' };

test('a disk has an image or a vhost-user back-end', () => {
  const needsPath = (i: number) => `disks[${i}].path: a disk needs a path`;
  expectProblems(disk, [
    ['an image', { path: '/a' }, []],
    ['neither', [{}, { path: '' }], [needsPath(0), needsPath(1)]],
  ]);
  expectProblems(
    disk,
    [
      ['a back-end', backEnd, []],
      [
        'both',
        [{ path: '/a' }, { path: '/a', ...backEnd }],
        ['disks[1]: Disk path and vhost socket both provided'],
      ],
      [
        'a back-end without a socket',
        { vhost_user: true },
        ['disks[0]: No socket provided when using vhost-user'],
      ],
    ],
    { sharesRam: true },
  );
});

test('a vhost-user disk needs shared RAM', () => {
  const problem =
    'disks[0]: Using vhost-user requires using shared memory: set memory.shared (--memory shared=on)';
  expectProblems(disk, [['RAM not shared', backEnd, [problem]]], { sharesRam: false });
});

test('members that only QEMU’s disks have are refused for a back-end', () => {
  const bandwidth = { size: 1, refill_time: 1 };
  expectProblems(
    disk,
    [
      [
        'a limit',
        { ...backEnd, rate_limiter_config: { bandwidth } },
        ['disks[0].rate_limiter_config: has no effect with vhost_user: only its back-end can limit it'],
      ],
      ['a serial number', { ...backEnd, serial: 's' }, ['disks[0].serial: has no effect with vhost_user']],
    ],
    { sharesRam: true },
  );
});

test('a serial number has the bytes that virtio-blk can hold', () => {
  expectProblems(disk, [
    ['20 bytes', { path: '/a', serial: 'ä'.repeat(10) }, []],
    ['21 bytes', { path: '/a', serial: `${'ä'.repeat(10)}x` }, ['disks[0].serial: longer than 20 bytes']],
  ]);
});

test('a disk has one to as many queues as the VM has vCPUs at boot', () => {
  expectProblems(disk, [['no queue', { path: '/a', num_queues: 0 }, ['disks[0].num_queues: must not be 0']]]);
  expectProblems(
    disk,
    [
      [
        'more queues than vCPUs',
        { path: '/a', num_queues: 3 },
        ['disks[0]: Number of vCPUs is insufficient for number of queues'],
      ],
      ['as many queues as vCPUs', { path: '/a', num_queues: 2 }, []],
    ],
    { bootVcpus: 2 },
  );
});

test('queue sizes are powers of two that QEMU accepts', () => {
  for (const size of [0, 1, 2, 3, 100, 2048, 65_535]) {
    const problem = `disks[0].queue_size: must be a power of two from 4 to 1024, got ${size}`;
    expectProblems(disk, [[String(size), { path: '/a', queue_size: size }, [problem]]]);
  }
  for (const size of [4, 128, 1024]) {
    expectProblems(disk, [[String(size), { path: '/a', queue_size: size }, []]]);
  }
});

test('a queue is pinned once, and to at least one host CPU', () => {
  const problemsOf = (config: object): string[] => {
    const problems: string[] = [];
    checkQueueAffinity(decode(DiskConfig, config), 'disks[1]', (place, reason) => {
      problems.push(`${place}: ${reason}`);
    });
    return problems;
  };
  const queue = (queue_index: number, host_cpus: number[]) => ({ queue_index, host_cpus });
  assert.deepEqual(problemsOf({ path: '/a', queue_affinity: [queue(0, []), queue(0, [1])] }), [
    'disks[1].queue_affinity[0].host_cpus: must not be empty',
    'disks[1].queue_affinity[1].queue_index: queue 0 is in disks[1].queue_affinity[0] already',
  ]);
  assert.deepEqual(problemsOf({ ...backEnd, queue_affinity: [queue(0, [1])] }), [
    'disks[1].queue_affinity: has no effect with vhost_user',
  ]);
});
