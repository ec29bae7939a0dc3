// Each operation: the bytes of a request as linux/fuse.h has them, the call of the file system, and the bytes of the reply.
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import type { FileSystem, Name } from './file-system.ts';
import { viewOf } from '../../native/memory.ts';
import { nameBytes, startDriver, u32s, u64s, type TestRequest } from './test-driver.ts';
import { ATTRIBUTES, filesWith } from './test-files.ts';

const { EBADF, EFBIG, EINVAL, ENAMETOOLONG, ENOENT, ERANGE, EROFS, ESTALE } = constants.errno;

const ENTRY = { node: 5, attributes: ATTRIBUTES };

/** A caller as the requests have it. */
const CALLER = { uid: 1, gid: 2, pid: 3 };

/** Arguments of a call in a form that can be compared: names as text, whose memory at the address is checked. */
function plain(value: unknown): unknown {
  if (isName(value)) {
    const copy = new Uint8Array(viewOf(value.address, value.bytes.length + 1).buffer);
    assert.deepEqual([...copy], [...value.bytes, 0]);
    return Buffer.from(value.bytes).toString('latin1');
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  if (typeof value !== 'object' || value === null) return value;
  if ('each' in value) return 'buffers';
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}

function isName(value: unknown): value is Name {
  return typeof value === 'object' && value !== null && 'address' in value && 'bytes' in value;
}

interface Case {
  readonly title: string;
  readonly request: TestRequest;
  /** method and its arguments */
  readonly call: readonly unknown[];
  readonly result: unknown;
  /** reply without its header; undefined: not compared */
  readonly reply?: string;
}

const place = (parent: number, name: string) => ({ parent, name });

const READ_BODY = [u64s(9, 2 ** 33), u32s(7, 0), u64s(0), u32s(0, 0)];

const CASES: readonly Case[] = [
  {
    title: 'GETATTR without a handle',
    request: { opcode: 3, node: 6, body: [u32s(0, 0), u64s(8)] },
    call: ['getattr', 6, undefined],
    result: ENOENT,
  },
  {
    title: 'GETATTR with a handle',
    request: { opcode: 3, node: 6, body: [u32s(1, 0), u64s(8)] },
    call: ['getattr', 6, 8],
    result: ENOENT,
  },
  {
    title: 'SETATTR of nothing',
    request: { opcode: 4, node: 6, body: [new Uint8Array(88)] },
    call: ['setattr', CALLER, 6, {}],
    result: ENOENT,
  },
  {
    title: 'SETATTR of everything',
    request: {
      opcode: 4,
      node: 6,
      body: [
        u32s(0x87f, 0),
        u64s(8, 2 ** 40, 0, -5, 2 ** 33, 0),
        u32s(11, 12, 0, 0o100_755, 0, 1000, 1001, 0),
      ],
    },
    call: [
      'setattr',
      CALLER,
      6,
      {
        handle: 8,
        mode: 0o755,
        uid: 1000,
        gid: 1001,
        size: 2 ** 40,
        accessed: { seconds: -5, nanoseconds: 11 },
        modified: { seconds: 2 ** 33, nanoseconds: 12 },
        killsPrivileges: true,
      },
    ],
    result: ENOENT,
  },
  {
    title: 'SETATTR of times to the present',
    request: { opcode: 4, node: 6, body: [u32s(0x1b0, 0), new Uint8Array(80)] },
    call: ['setattr', CALLER, 6, { accessed: 'now', modified: 'now' }],
    result: ENOENT,
  },
  {
    title: 'READLINK',
    request: { opcode: 5, node: 6 },
    call: ['readlink', 6],
    result: Buffer.from('../a'),
    reply: '2e2e2f61',
  },
  {
    title: 'SYMLINK',
    request: { opcode: 6, body: [nameBytes('l'), nameBytes('/etc/../x')] },
    call: ['symlink', { ...place(1, 'l'), caller: CALLER, mode: 0o120_777 }, '/etc/../x'],
    result: ENOENT,
  },
  {
    title: 'MKNOD',
    request: { opcode: 8, body: [u32s(0o020_644, 0x0103, 0o22, 0), nameBytes('n')] },
    call: ['mknod', { ...place(1, 'n'), caller: CALLER, mode: 0o020_644 }, 0x0103],
    result: ENOENT,
  },
  {
    title: 'MKDIR',
    request: { opcode: 9, body: [u32s(0o755, 0o22), nameBytes('d')] },
    call: ['mkdir', { ...place(1, 'd'), caller: CALLER, mode: 0o040_755 }],
    result: ENOENT,
  },
  {
    title: 'UNLINK',
    request: { opcode: 10, node: 2, body: [nameBytes('a')] },
    call: ['unlink', CALLER, place(2, 'a')],
    result: 0,
    reply: '',
  },
  {
    title: 'RMDIR',
    request: { opcode: 11, node: 2, body: [nameBytes('a')] },
    call: ['rmdir', CALLER, place(2, 'a')],
    result: 0,
    reply: '',
  },
  {
    title: 'RENAME',
    request: { opcode: 12, node: 2, body: [u64s(3), nameBytes('a'), nameBytes('b')] },
    call: ['rename', CALLER, { from: place(2, 'a'), to: place(3, 'b'), flags: 0 }],
    result: 0,
    reply: '',
  },
  {
    title: 'RENAME2',
    request: { opcode: 45, node: 2, body: [u64s(3), u32s(2, 0), nameBytes('a'), nameBytes('b')] },
    call: ['rename', CALLER, { from: place(2, 'a'), to: place(3, 'b'), flags: 2 }],
    result: 0,
    reply: '',
  },
  {
    title: 'LINK',
    request: { opcode: 13, node: 2, body: [u64s(9), nameBytes('a')] },
    call: ['link', CALLER, 9, place(2, 'a')],
    result: ENOENT,
  },
  {
    title: 'OPEN without the flags that create',
    request: { opcode: 14, node: 6, body: [u32s(0o100 | 0o200 | 0o2002, 0)] },
    call: ['open', CALLER, 6, 0o2002],
    result: { handle: 2 ** 40, keepsCache: true },
    reply: '00000000000100000200000000000000',
  },
  {
    title: 'CREATE',
    request: { opcode: 35, body: [u32s(0o102, 0o100_600, 0, 0), nameBytes('f')] },
    call: ['create', { ...place(1, 'f'), caller: CALLER, mode: 0o100_600 }, 0o102],
    result: ENOENT,
  },
  {
    title: 'READ',
    request: { opcode: 15, node: 6, body: READ_BODY },
    call: ['read', { node: 6, handle: 9, offset: 2 ** 33, length: 7 }, 'buffers'],
    result: 0,
    reply: '',
  },
  {
    title: 'READ with more space than its size',
    request: { opcode: 15, node: 6, body: READ_BODY, space: 100 },
    call: ['read', { node: 6, handle: 9, offset: 2 ** 33, length: 7 }, 'buffers'],
    result: -EBADF,
  },
  {
    title: 'READ with less space than its size',
    request: { opcode: 15, node: 6, body: READ_BODY, space: 3 },
    call: ['read', { node: 6, handle: 9, offset: 2 ** 33, length: 3 }, 'buffers'],
    result: 0,
  },
  {
    title: 'WRITE',
    request: {
      opcode: 16,
      node: 6,
      body: [u64s(9, 1), u32s(3, 1), u64s(0), u32s(0, 0), Buffer.from('abc')],
    },
    call: [
      'write',
      CALLER,
      { node: 6, handle: 9, offset: 1, length: 3, isFromCache: true, killsPrivileges: false },
      'buffers',
    ],
    result: 2,
    reply: '0200000000000000',
  },
  {
    title: 'STATFS',
    request: { opcode: 17 },
    call: ['statfs', 1],
    result: {
      ...{ blocks: 2 ** 33, blocksFree: 2, blocksAvailable: 3, files: 4, filesFree: 5 },
      ...{ blockSize: 4096, nameLength: 255, fragmentSize: 512 },
    },
    reply: [
      '0000000002000000020000000000000003000000000000000400000000000000',
      '050000000000000000100000ff00000000020000',
      '00'.repeat(28),
    ].join(''),
  },
  {
    title: 'RELEASE',
    request: { opcode: 18, node: 6, body: [u64s(9), u32s(0, 0), u64s(0)] },
    call: ['release', 6, 9],
    result: undefined,
    reply: '',
  },
  {
    title: 'FSYNC of data only',
    request: { opcode: 20, node: 6, body: [u64s(9), u32s(1, 0)] },
    call: ['fsync', 6, 9, true],
    result: 0,
    reply: '',
  },
  {
    title: 'SETXATTR',
    request: { opcode: 21, node: 6, body: [u32s(3, 2, 1, 0), nameBytes('user.a/b'), Buffer.from('v\0w')] },
    call: [
      'setxattr',
      CALLER,
      { node: 6, name: 'user.a/b' },
      { bytes: 'v\0w', flags: 2, killsPrivileges: true },
    ],
    result: 0,
    reply: '',
  },
  {
    title: 'GETXATTR of the size',
    request: { opcode: 22, node: 6, body: [u32s(0, 0), nameBytes('user.a')] },
    call: ['getxattr', { node: 6, name: 'user.a' }],
    result: Buffer.alloc(300),
    reply: '2c01000000000000',
  },
  {
    title: 'GETXATTR of the value',
    request: { opcode: 22, node: 6, body: [u32s(3, 0), nameBytes('user.a')] },
    call: ['getxattr', { node: 6, name: 'user.a' }],
    result: Buffer.from('abc'),
    reply: '616263',
  },
  {
    title: 'LISTXATTR',
    request: { opcode: 23, node: 6, body: [u32s(100, 0)] },
    call: ['listxattr', 6],
    result: Buffer.from('a\0b\0'),
    reply: '61006200',
  },
  {
    title: 'REMOVEXATTR',
    request: { opcode: 24, node: 6, body: [nameBytes('user.a')] },
    call: ['removexattr', CALLER, { node: 6, name: 'user.a' }],
    result: 0,
    reply: '',
  },
  {
    title: 'OPENDIR',
    request: { opcode: 27, node: 6, body: [u32s(0, 0)] },
    call: ['opendir', CALLER, 6],
    result: { handle: 3, isDirect: true },
    reply: '03000000000000000100000000000000',
  },
  {
    title: 'RELEASEDIR',
    request: { opcode: 29, node: 6, body: [u64s(9), u32s(0, 0), u64s(0)] },
    call: ['releasedir', 6, 9],
    result: undefined,
    reply: '',
  },
  {
    title: 'FSYNCDIR',
    request: { opcode: 30, node: 6, body: [u64s(9), u32s(0, 0)] },
    call: ['fsyncdir', 6, 9, false],
    result: 0,
    reply: '',
  },
  {
    title: 'ACCESS',
    request: { opcode: 34, node: 6, body: [u32s(4, 0)] },
    call: ['access', CALLER, 6, 4],
    result: 0,
    reply: '',
  },
  {
    title: 'FALLOCATE',
    request: { opcode: 43, node: 6, body: [u64s(9, 1, 2 ** 40), u32s(3, 0)] },
    call: ['fallocate', { node: 6, handle: 9, offset: 1, length: 2 ** 40 }, 3],
    result: 0,
    reply: '',
  },
  {
    title: 'LSEEK',
    request: { opcode: 46, node: 6, body: [u64s(9, 1), u32s(3, 0)] },
    call: ['lseek', 6, 9, { offset: 1, whence: 3 }],
    result: 2 ** 40,
    reply: '0000000000010000',
  },
  {
    title: 'COPY_FILE_RANGE of more than a call copies',
    request: { opcode: 47, node: 6, body: [u64s(9, 1, 7, 10, 2, 2 ** 40, 0)] },
    call: [
      'copyFileRange',
      { node: 6, handle: 9, offset: 1, length: 0x7fff_f000 },
      { node: 7, handle: 10, offset: 2 },
    ],
    result: 0x7fff_f000,
    reply: '00f0ff7f00000000',
  },
  {
    title: 'SYNCFS',
    request: { opcode: 50, body: [u64s(0)] },
    call: ['syncfs', 1],
    result: 0,
    reply: '',
  },
];

/** A file system whose methods all return `result`, and the calls of them. */
function recording(result: unknown): { files: FileSystem; calls: unknown[] } {
  const calls: unknown[] = [];
  const record =
    (name: string) =>
    (...args: unknown[]): unknown => {
      calls.push([name, ...args.map(plain)]);
      return result;
    };
  const names = Object.keys(filesWith({})).filter((name) => name !== 'reset');
  const methods = Object.fromEntries(names.map((name) => [name, record(name)]));
  return { files: filesWith(methods), calls };
}

for (const { title, request, call, result, reply } of CASES) {
  test(title, () => {
    const { files, calls } = recording(result);
    using driver = startDriver({ files });
    driver.init();
    const { error, payload } = driver.call({ ...CALLER, ...request });
    assert.deepEqual(calls, [call]);
    const failed = typeof result === 'number' && (reply === undefined ? result !== 0 : false);
    assert.equal(error, failed ? Math.abs(result) : 0);
    if (reply !== undefined) assert.equal(Buffer.from(payload.buffer).toString('hex'), reply);
  });
}

const LONG = nameBytes('a'.repeat(256));

/** Requests that fail before the file system sees them. */
const REFUSED: readonly [title: string, request: TestRequest, error: number][] = [
  ['a header with another length', { opcode: 17, length: 41 }, EINVAL],
  ['a structure that is cut off', { opcode: 3, body: [u64s(0)] }, EINVAL],
  ['bytes behind the structure', { opcode: 3, body: [u64s(0, 0, 0)] }, EINVAL],
  ['bytes behind the name', { opcode: 1, body: [nameBytes('a'), nameBytes('b')] }, EINVAL],
  ['a name without its end', { opcode: 1, body: [Buffer.from('abc')] }, EINVAL],
  ['no second name', { opcode: 12, body: [u64s(3), nameBytes('a')] }, EINVAL],
  ['a second name of ..', { opcode: 12, body: [u64s(3), nameBytes('a'), nameBytes('..')] }, EINVAL],
  ['a long second name', { opcode: 12, body: [u64s(3), nameBytes('a'), LONG] }, ENAMETOOLONG],
  ['a long attribute', { opcode: 24, body: [LONG] }, ERANGE],
  ['an empty target', { opcode: 6, body: [nameBytes('a'), nameBytes('')] }, ENOENT],
  ['a long target', { opcode: 6, body: [nameBytes('a'), nameBytes('x'.repeat(4096))] }, ENAMETOOLONG],
  ['no buffer for the reply', { opcode: 17, space: 79 }, EINVAL],
  ['inode 0', { opcode: 17, node: 0 }, ESTALE],
  ['an inode of 64 bits', { opcode: 17, node: 2n ** 64n - 1n }, ESTALE],
  ['a handle of 64 bits', { opcode: 20, body: [u64s(2n ** 53n), u32s(0, 0)] }, EBADF],
  [
    'a new parent of 64 bits',
    { opcode: 12, body: [u64s(2n ** 63n), nameBytes('a'), nameBytes('b')] },
    ESTALE,
  ],
  [
    'a WRITE that is shorter than its size',
    { opcode: 16, body: [u64s(9, 1), u32s(4, 1), u64s(0), u32s(0, 0), Buffer.from('abc')] },
    EINVAL,
  ],
  [
    'a WRITE at an offset of 64 bits',
    { opcode: 16, body: [u64s(9, 2n ** 63n), u32s(3, 1), u64s(0), u32s(0, 0), Buffer.from('abc')] },
    EFBIG,
  ],
  ['an attribute of another size', { opcode: 21, body: [u32s(3, 0, 0, 0), nameBytes('a')] }, EINVAL],
  [
    'nanoseconds of a second',
    { opcode: 4, body: [u32s(1 << 4, 0), u64s(0, 0, 0, 0, 0, 0), u32s(1e9, 0, 0, 0, 0, 0, 0, 0)] },
    EINVAL,
  ],
  ['LSEEK from the end', { opcode: 46, body: [u64s(9, 1), u32s(2, 0)] }, EINVAL],
  ['FALLOCATE of nothing', { opcode: 43, body: [u64s(9, 1, 0), u32s(0, 0)] }, EINVAL],
  ['flags of COPY_FILE_RANGE', { opcode: 47, body: [u64s(9, 1, 7, 10, 2, 5, 1)] }, EINVAL],
];

test('malformed requests fail before the file system sees them', async (t) => {
  for (const [title, request, error] of REFUSED) {
    await t.test(title, () => {
      const { files, calls } = recording(0);
      using driver = startDriver({ files });
      driver.init();
      assert.equal(driver.call(request).error, error);
      assert.deepEqual(calls, []);
    });
  }
});

test('requests without a reply, or without a buffer for it, are returned with no bytes', () => {
  const { files, calls } = recording(0);
  using driver = startDriver({ files });
  driver.init();
  const silent: TestRequest[] = [
    { opcode: 2, node: 5, body: [u64s(3)], queue: 0, headerSpace: 0, space: 0 },
    { opcode: 42, node: 0, body: [u32s(2, 0), u64s(5, 1, 6, 2n ** 64n - 1n)], headerSpace: 0, space: 0 },
    // a count beyond the request
    { opcode: 42, node: 0, body: [u32s(0xffff_ffff, 0), u64s(7, 1)], queue: 0 },
    { opcode: 36, body: [u64s(1)], queue: 0, headerSpace: 0, space: 0 },
    { opcode: 2, node: 0, body: [u64s(3)] },
    { opcode: 2, node: 5, body: [] },
    { opcode: 17, headerSpace: 15, space: 0 },
    { opcode: 17, headerSpace: 0, space: 0 },
  ];
  for (const request of silent) assert.equal(driver.call(request).error, undefined);
  assert.deepEqual(calls, [
    ['forget', 5, 3],
    ['forget', 5, 1],
    ['forget', 6, Number.MAX_SAFE_INTEGER],
    ['forget', 7, 1],
  ]);
});

test('a request and its reply may be in buffers of any sizes', () => {
  const { files, calls } = recording({ ...ENTRY, handle: 9 });
  using driver = startDriver({ files });
  driver.init();
  const request = { opcode: 35, body: [u32s(2, 0o600, 0, 0), nameBytes('name')] };
  const whole = driver.call(request).payload;
  for (const split of [[1], [39, 2], [40, 16, 1, 1, 1], [3, 50]])
    assert.deepEqual(driver.call({ ...request, split }).payload, whole);
  assert.equal(driver.call({ ...request, headerSpace: 7 }).error, 0);
  assert.equal(new Set(calls.map((call) => JSON.stringify(call))).size, 1);
});

test('a read-only device refuses changes before the file system sees them', () => {
  const { files, calls } = recording(ENOENT);
  using driver = startDriver({ files, readonly: true });
  driver.init();
  const changing = CASES.filter(({ request }) =>
    [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47].includes(request.opcode),
  );
  assert.equal(new Set(changing.map(({ request }) => request.opcode)).size, 15);
  for (const { title, request } of changing) assert.equal(driver.call(request).error, EROFS, title);
  for (const flags of [0o1, 0o2, 0o3, 0o1000])
    assert.equal(driver.call({ opcode: 14, body: [u32s(flags, 0)] }).error, EROFS);
  assert.equal(driver.call({ opcode: 34, body: [u32s(2, 0)] }).error, EROFS);
  assert.deepEqual(calls, []);
  assert.equal(driver.call({ opcode: 14, body: [u32s(0, 0)] }).error, ENOENT);
  assert.equal(driver.call({ opcode: 34, body: [u32s(5, 0)] }).error, ENOENT);
});

test('OPEN with KILL_SUIDGID removes the bits of the file, or does not open it', () => {
  const changes: unknown[] = [];
  const released: number[] = [];
  let result: number | typeof ATTRIBUTES = ATTRIBUTES;
  using driver = startDriver({
    files: filesWith({
      open: () => ({ handle: 9 }),
      setattr: (_caller, node, change) => {
        changes.push([node, change]);
        return result;
      },
      release: (_node, handle) => void released.push(handle),
    }),
  });
  driver.init();
  const open = { opcode: 14, node: 6, body: [u32s(0o1001, 1)] };
  assert.equal(driver.call(open).error, 0);
  assert.deepEqual([changes, released], [[[6, { handle: 9, killsPrivileges: true }]], []]);
  result = EINVAL;
  assert.equal(driver.call(open).error, EINVAL);
  assert.deepEqual(released, [9]);
});
