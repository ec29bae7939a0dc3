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

test('a directory needs no shared RAM, and no socket', () => {
  const both = 'fs[0]: socket and directory are both given: a daemon or the VMM serves it, not both';
  expectProblems(fs, [
    ['a directory', { tag: 't', directory: '/d' }, []],
    [
      'a directory with all options',
      {
        ...{ tag: 't', directory: '/d, "é"', readonly: true, cache: 'never' },
        ...{ uid_map: '0:100000:65536', gid_map: '0:100000:65536', xattr: false },
      },
      [],
    ],
    ['an empty directory', { tag: 't', directory: '' }, ['fs[0].directory: must not be empty']],
    ['both', { ...share, directory: '/d' }, [both]],
  ]);
  const missing = ['fs[0]: missing field "socket" or "directory"'];
  expectProblems(fs, [
    ['neither', { tag: 't' }, missing],
    ['neither, with an option', { tag: 't', readonly: true }, missing],
  ]);
});

test('options of a directory are refused beside a socket', () => {
  const reason = 'needs directory: the daemon of a socket has options of its own';
  const options = { readonly: false, cache: 'auto', uid_map: '0:0:1', gid_map: '0:0:1', xattr: true };
  const problems = Object.keys(options).map((name) => `fs[0].${name}: ${reason}`);
  expectProblems(fs, [['all', { ...share, ...options }, problems]], { sharesRam: true });
});

test('two directories have different tags', () => {
  const problem = ['fs[1].tag: fs[0] has the tag t already'];
  const directory = { tag: 't', directory: '/d' };
  expectProblems(
    fs,
    [
      ['two directories', [directory, directory], problem],
      ['a directory after a socket', [share, directory], problem],
      ['a socket after a directory', [directory, share], problem],
      // Cloud Hypervisor accepts them
      ['two sockets', [share, share], []],
      ['different tags', [directory, { ...directory, tag: 'u' }], []],
    ],
    { sharesRam: true },
  );
});
