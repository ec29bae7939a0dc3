import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { fs } from './index.ts';

const share = { tag: 't', socket: '/s' };

test('a file system needs shared RAM', () => {
  const problem =
    'fs[0]: Using vhost-user requires using shared memory: set memory.shared (--memory shared=on)';
  expectProblems(fs, [['RAM not shared', share, [problem]]]);
  expectProblems(fs, [['RAM shared', share, []]], { sharesRam: true });
});

test('the tag and the queues of a file system are what QEMU accepts', () => {
  const tags = ['', 'ä'.repeat(19), 'ä'.repeat(18)].map((tag) => ({ ...share, tag }));
  expectProblems(
    fs,
    [
      [
        'more queues than vCPUs',
        { ...share, num_queues: 2 },
        ['fs[0]: Number of vCPUs is insufficient for number of queues'],
      ],
      ['no queue', { ...share, num_queues: 0 }, ['fs[0].num_queues: must not be 0']],
      [
        'tags without and with too many bytes',
        tags,
        [0, 1].map((i) => `fs[${i}].tag: must have 1 to 36 bytes`),
      ],
      [
        'a queue of 5',
        { ...share, queue_size: 5 },
        ['fs[0].queue_size: must be a power of two from 4 to 1024, got 5'],
      ],
    ],
    { sharesRam: true },
  );
});
