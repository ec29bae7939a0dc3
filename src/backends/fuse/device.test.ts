// Requests over real rings: bytes of requests and replies as linux/fuse.h has them, written by hand.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { test } from 'node:test';
import type { FileSystem } from './file-system.ts';
import { Opcode } from './opcodes.ts';
import { nameBytes, startDriver, u32s, u64s, type TestDriver, type TestReply } from './test-driver.ts';
import { ATTRIBUTES, filesWith } from './test-files.ts';

const { EINVAL, EIO, ENAMETOOLONG, ENOSYS, ENOENT } = constants.errno;

function started(methods: Partial<FileSystem>, options: object = {}): TestDriver {
  const driver = startDriver({ files: filesWith(methods), ...options });
  driver.init();
  return driver;
}

function hex({ payload }: TestReply): string {
  return Buffer.from(payload.buffer).toString('hex');
}

test('INIT is answered with the version, the sizes and the flags that both have', () => {
  using driver = startDriver({ files: filesWith({}) });
  const { error, payload } = driver.init({ minor: 36 });
  assert.equal(error, 0);
  assert.equal(payload.byteLength, 64);
  assert.deepEqual(
    [payload.getUint32(0, true), payload.getUint32(4, true), payload.getUint32(8, true)],
    [7, 38, 131_072],
  );
  assert.equal(payload.getUint32(20, true), 2 ** 20, 'max_write');
  assert.equal(payload.getUint16(28, true), 256, 'max_pages');
});

test('LOOKUP passes the name and the caller, and is answered with the attributes', () => {
  const seen: unknown[] = [];
  using driver = started({
    lookup: (caller, { parent, name }) => {
      seen.push([{ ...caller }, parent, Buffer.from(name.bytes).toString('latin1')]);
      return { node: 0x1_0000_0002, attributes: ATTRIBUTES };
    },
  });
  const reply = driver.call({
    opcode: Opcode.Lookup,
    node: 1,
    body: [nameBytes('a\u00e9')],
    ...{ uid: 1, gid: 2, pid: 3 },
  });
  assert.deepEqual(seen, [[{ uid: 1, gid: 2, pid: 3 }, 1, 'a\u00c3\u00a9']]);
  assert.equal(reply.error, 0);
  assert.equal(
    hex(reply),
    [
      '0200000001000000', // `nodeid`
      '0000000000000000', // generation
      '0100000000000000', // entry_valid
      '0100000000000000', // attr_valid
      '0000000000000000', // nanoseconds of both
      '8877665544332211', // `ino`
      '0300000000010000', // size
      '0900000000000000', // blocks
      'feffffffffffffff', // `atime`
      '0000000002000000', // `mtime`
      '0100000000000000', // `ctime`
      '05000000', // `atimensec`
      'ffc99a3b', // `mtimensec`
      '00000000', // `ctimensec`
      'a4810000', // mode
      '02000000', // `nlink`
      'e8030000', // `uid`
      'e9030000', // `gid`
      '01080000', // `rdev`
      '00100000', // `blksize`
      '00000000', // flags
    ].join(''),
  );
});

test('an error of the file system is the error of the reply', () => {
  using driver = started({ lookup: () => ENOENT });
  assert.equal(driver.call({ opcode: Opcode.Lookup, body: [nameBytes('a')] }).error, ENOENT);
});

for (const [what, name, error] of [
  ['no bytes', '', EINVAL],
  ['a slash', 'a/b', EINVAL],
  ['the name .', '.', EINVAL],
  ['the name ..', '..', EINVAL],
  ['256 bytes', 'a'.repeat(256), ENAMETOOLONG],
] as const) {
  test(`a name of ${what} is refused before the file system sees it`, () => {
    let calls = 0;
    using driver = started({ lookup: () => (calls++, ENOENT) });
    assert.equal(driver.call({ opcode: Opcode.Lookup, body: [nameBytes(name)] }).error, error);
    assert.equal(calls, 0);
  });
}

test('unknown operations, FLUSH and IOCTL fail with ENOSYS; an exception is EIO', () => {
  using driver = started({
    getattr: () => {
      throw new Error('a fault');
    },
  });
  for (const opcode of [25, 39, 40, 51, 52, 0, 4096])
    assert.equal(driver.call({ opcode, body: [new Uint8Array(24)] }).error, ENOSYS);
  assert.equal(driver.call({ opcode: Opcode.Getattr, body: [u64s(0, 0)] }).error, EIO);
});

test('READ fills the guest’s buffers, and WRITE reads them', () => {
  const written: string[] = [];
  using driver = started({
    read: ({ node, handle, offset, length }, into) => {
      assert.deepEqual([node, handle, offset, length, into.bytes], [7, 9, 2 ** 33, 5, 5]);
      into.each(0, 5, (address) => assert.ok(address > 0));
      return 3;
    },
    write: (_caller, range, from) => {
      const { node, handle, offset, length, isFromCache, killsPrivileges } = range;
      written.push(`${node} ${handle} ${offset} ${length} ${isFromCache} ${killsPrivileges} ${from.bytes}`);
      return length;
    },
  });
  const read = [u64s(9, 2 ** 33), u32s(5, 0), u64s(0), u32s(0, 0)];
  const reply = driver.call({ opcode: Opcode.Read, node: 7, body: read });
  assert.deepEqual([reply.error, reply.payload.byteLength], [0, 3]);
  const write = [u64s(9, 2), u32s(6, 5), u64s(0), u32s(0, 0), Buffer.from('abcdef')];
  const done = driver.call({ opcode: Opcode.Write, node: 7, body: write });
  assert.equal(hex(done), '0600000000000000');
  assert.deepEqual(written, ['7 9 2 6 true true 6']);
});

test('a driver that breaks a rule of the ring loses its file system until it is reset', () => {
  const warnings: string[] = [];
  let resets = 0;
  using driver = startDriver({
    files: filesWith({ statfs: () => ENOENT, reset: () => void resets++ }),
    warn: (line) => warnings.push(line),
  });
  driver.init();
  const before = resets;
  // the available index of the first request queue, far ahead of its entries
  driver.ram.setUint16(0x1000 + 0x400 + 2, 5000, true);
  driver.device.kicked(1);
  assert.deepEqual(driver.run(), []);
  assert.equal(resets, before + 1);
  assert.match(warnings.join('\n'), /^the guest's driver broke a rule, its file system is stopped: /);
  driver.device.kicked(1);
  assert.equal(driver.device.settle(), -1, 'nothing is done');
  driver.start({ resumed: false });
  assert.equal(driver.init().error, 0);
  assert.equal(driver.call({ opcode: Opcode.Statfs }).error, ENOENT);
});

test('a driver that breaks rules again and again does not make the process grow', () => {
  using driver = startDriver({ files: filesWith({}) });
  const breakRule = (): void => {
    driver.ram.setUint16(0x1000 + 0x400 + 2, 5000, true);
    driver.device.kicked(1);
    assert.equal(driver.device.settle(), -1);
    driver.stop();
    driver.start({ resumed: false });
  };
  breakRule();
  const before = virtualBytes();
  // the buffers of a request are mappings of more than 128 KiB
  for (let i = 0; i < 1000; i++) breakRule();
  assert.ok(virtualBytes() - before < 64 * 2 ** 20);
});

/** Returns the size of the address space of this process in `bytes`. */
function virtualBytes(): number {
  return Number(/^VmSize:\s*(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}

test('one call of settle moves a bounded amount of data, and serves every queue', () => {
  const [MIB, READ] = [2 ** 20, Opcode.Read];
  using driver = started({ read: ({ length }) => length, statfs: () => ENOENT }, { queues: 2 });
  const body = [u64s(9, 0), u32s(MIB, 0), u64s(0), u32s(0, 0)];
  for (let i = 0; i < 5; i++) driver.submit({ opcode: READ, body, space: MIB });
  const other = driver.submit({ opcode: Opcode.Statfs, queue: 2 });
  assert.equal(driver.device.settle(), 0, 'more remains');
  const first = driver.collect();
  assert.ok(first.length < 6, `${first.length} replies`);
  assert.ok(first.some(({ unique }) => unique === other));
  assert.equal(first.length + driver.run().length, 6);
});

test('a device runs with the queues that are set up', () => {
  using driver = startDriver({ files: filesWith({ statfs: () => ENOENT }), queues: 2 });
  driver.stop();
  driver.start({ resumed: false, queues: [1] });
  assert.equal(driver.init().error, 0);
  driver.submit({ opcode: Opcode.Statfs, queue: 2 });
  assert.deepEqual(driver.run(), []);
  assert.equal(driver.call({ opcode: Opcode.Statfs }).error, ENOENT);
});
