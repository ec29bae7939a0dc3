// Negotiation: flags by their numbers in linux/fuse.h.
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import type { CacheMode } from './cache-policy.ts';
import { negotiate, type InitReply, type InitRequest } from './init.ts';
import { Opcode } from './opcodes.ts';
import { startDriver, u32s, u64s } from './test-driver.ts';
import { ATTRIBUTES, filesWith } from './test-files.ts';

const ALL: InitRequest = {
  major: 7,
  minor: 38,
  maxReadahead: 65_536,
  flags: 0xffff_ffff,
  flags2: 0xffff_ffff,
};

function reply(change: Partial<InitRequest>, cache: CacheMode = 'auto', posixAcl = false): InitReply {
  const result = negotiate({ ...ALL, ...change }, { cache, posixAcl });
  assert.notEqual(result, 'unsupported');
  return result as InitReply;
}

/** Returns the numbers of the set bits. */
function bits(value: number): number[] {
  return Array.from({ length: 32 }, (_, i) => i).filter((i) => ((value >>> i) & 1) === 1);
}

/** ASYNC_READ, ATOMIC_O_TRUNC, BIG_WRITES, `READDIRPLUS`, ASYNC_DIO, PARALLEL_DIROPS, MAX_PAGES, KILLPRIV_V2, SETXATTR_EXT, INIT_EXT */
const COMMON = [0, 3, 5, 13, 14, 15, 18, 22, 28, 29, 30];

test('the flags depend on the caching', () => {
  const expected: [CacheMode, number[], number[]][] = [
    ['auto', [12], []],
    ['always', [16, 23], []],
    ['never', [12], [4]],
  ];
  for (const [cache, more, flags2] of expected) {
    const { flags, flags2: second } = reply({}, cache);
    assert.deepEqual(
      bits(flags),
      [...COMMON, ...more].toSorted((a, b) => a - b),
      cache,
    );
    assert.deepEqual(bits(second), flags2, cache);
  }
});

test('POSIX ACLs are offered where the file system has them', () => {
  assert.ok(bits(reply({}, 'auto', true).flags).includes(20));
});

test('no flag is set that the kernel did not send', () => {
  assert.equal(reply({ flags: 0 }, 'always').flags, 0);
  assert.deepEqual(bits(reply({ flags: 1 << 5 }).flags), [5]);
  assert.equal(reply({ flags2: 0 }, 'never').flags2, 0);
  assert.equal(reply({ flags: 0 }, 'never').flags2, 0, 'without INIT_EXT there are none');
});

test('a kernel before 7.31 is refused, later ones are accepted', () => {
  const options = { cache: 'auto', posixAcl: false } as const;
  for (const [major, minor] of [
    [7, 30],
    [6, 38],
    [0, 0],
  ] as const)
    assert.equal(negotiate({ ...ALL, major, minor }, options), 'unsupported');
  for (const minor of [31, 38, 45]) assert.equal(reply({ minor }).minor, 38);
});

test('a request before INIT fails, and after DESTROY again', () => {
  let resets = 0;
  using driver = startDriver({ files: filesWith({ statfs: () => 5, reset: () => void resets++ }) });
  const statfs = { opcode: Opcode.Statfs };
  const before = resets;
  assert.equal(driver.call(statfs).error, constants.errno.EIO);
  driver.init();
  assert.equal(resets, before + 1, 'a new driver has no inodes of an earlier one');
  assert.equal(driver.call(statfs).error, 5);
  assert.equal(driver.call({ opcode: Opcode.Destroy }).error, 0);
  assert.equal(resets, before + 2);
  assert.equal(driver.call(statfs).error, constants.errno.EIO);
});

test('a later major version gets the own version and may try again', () => {
  using driver = startDriver({ files: filesWith({}) });
  const first = driver.init({ major: 8 });
  assert.deepEqual(
    [first.error, first.payload.getUint32(0, true), first.payload.getUint32(4, true)],
    [0, 7, 38],
  );
  assert.equal(driver.call({ opcode: Opcode.Statfs }).error, constants.errno.EIO);
  assert.equal(driver.init().error, 0);
});

test('a kernel that is too old gets EPROTO, and the log says why', () => {
  const warnings: string[] = [];
  using driver = startDriver({ files: filesWith({}), warn: (line) => warnings.push(line) });
  assert.equal(driver.init({ minor: 27 }).error, constants.errno.EPROTO);
  assert.deepEqual(warnings, ['the guest has FUSE 7.27, which is too old: 7.31 is needed']);
});

test('an INIT of 16 bytes has no second flags', () => {
  using driver = startDriver({ files: filesWith({}), cache: 'never' });
  const { error, payload } = driver.call({
    opcode: Opcode.Init,
    node: 0,
    body: [u32s(7, 31, 4096, 0xffff_ffff)],
  });
  assert.deepEqual([error, payload.getUint32(32, true)], [0, 0]);
});

test('names and attributes are valid for as long as the caching says', () => {
  const attributes = { ...ATTRIBUTES, size: 1 };
  for (const [cache, seconds, flags] of [
    ['auto', 1, 0],
    ['always', 86_400, 2],
    ['never', 0, 1],
  ] as const) {
    using driver = startDriver({
      files: filesWith({
        getattr: () => attributes,
        open: () => ({ handle: 3 }),
        opendir: () => ({ handle: 3 }),
      }),
      cache,
    });
    driver.init();
    const { payload } = driver.call({ opcode: Opcode.Getattr, body: [u64s(0, 0)] });
    assert.deepEqual([payload.getBigUint64(0, true), payload.getUint32(8, true)], [BigInt(seconds), 0]);
    const opened = driver.call({ opcode: Opcode.Open, body: [u32s(0, 0)] }).payload;
    assert.deepEqual([opened.getBigUint64(0, true), opened.getUint32(8, true)], [3n, flags]);
    const directory = driver.call({ opcode: Opcode.Opendir, body: [u32s(0, 0)] }).payload;
    assert.equal(
      directory.getUint32(8, true),
      0,
      'the kernel caches no directory: that would suppress READDIRPLUS',
    );
  }
});

test('with cache=always the kernel may cache that a name does not exist', () => {
  const { ENOENT } = constants.errno;
  const lookup = { opcode: Opcode.Lookup, body: [Buffer.from('a\0')] };
  using always = startDriver({ files: filesWith({ lookup: () => ENOENT }), cache: 'always' });
  always.init();
  const { error, payload } = always.call(lookup);
  assert.deepEqual([error, payload.byteLength], [0, 128]);
  assert.deepEqual([payload.getBigUint64(0, true), payload.getBigUint64(16, true)], [0n, 86_400n]);
  using auto = startDriver({ files: filesWith({ lookup: () => ENOENT }) });
  auto.init();
  assert.equal(auto.call(lookup).error, ENOENT);
});
