// Replies to READDIR and READDIRPLUS: the bytes of their entries, and how many there are.
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import type { DirectoryEntry, DirectorySink, FileSystem } from './file-system.ts';
import { Opcode } from './opcodes.ts';
import { startDriver, u32s, u64s, type TestDriver, type TestReply } from './test-driver.ts';
import { ATTRIBUTES, filesWith } from './test-files.ts';

const { EINVAL, ENOTDIR } = constants.errno;

function started(
  readdir: (sink: DirectorySink, offset: bigint) => number,
  more: Partial<FileSystem> = {},
): TestDriver {
  const files = filesWith({ readdir: (_caller, { offset }, sink) => readdir(sink, offset), ...more });
  const driver = startDriver({ files });
  driver.init();
  return driver;
}

interface ReadOptions {
  readonly size?: number;
  readonly space?: number;
  readonly offset?: bigint;
}

function read(driver: TestDriver, opcode: number, options: ReadOptions = {}): TestReply {
  const { size = 4096, offset = 0n } = options;
  const body = [u64s(9, offset), u32s(size, 0), u64s(0), u32s(0, 0)];
  return driver.call({ opcode, node: 6, body, space: options.space ?? size });
}

function hex({ payload }: TestReply): string {
  return Buffer.from(payload.buffer).toString('hex');
}

const A: DirectoryEntry = { name: Buffer.from('a'), inode: 0x1_0000_0002n, type: 8, next: 2n ** 63n + 5n };
const EIGHT: DirectoryEntry = { name: Buffer.from('12345678'), inode: 3n, type: 4, next: 7n };

/** 64-bit words, in the order of their bytes. */
function words(text: string): string {
  return text.replaceAll(' ', '');
}

const A_BYTES = words('0200000001000000 0500000000000080 0100000008000000 6100000000000000');
const EIGHT_BYTES = words('0300000000000000 0700000000000000 0800000004000000 3132333435363738');

test('READDIR encodes entries one after the other, each in whole 8 bytes', () => {
  const offsets: bigint[] = [];
  using driver = started((sink, offset) => {
    offsets.push(offset);
    assert.equal(sink.plus, false);
    for (const entry of [A, EIGHT]) sink.add(entry);
    return 0;
  });
  assert.equal(hex(read(driver, Opcode.Readdir, { offset: 2n ** 64n - 1n })), A_BYTES + EIGHT_BYTES);
  assert.deepEqual(offsets, [2n ** 64n - 1n], 'the offset is any 64 bits');
});

test('READDIRPLUS encodes the inode before each entry, and zeros where there is none', () => {
  using driver = started((sink) => {
    assert.equal(sink.plus, true);
    sink.add(A, { node: 5, attributes: ATTRIBUTES });
    sink.add(EIGHT);
    return 0;
  });
  const bytes = hex(read(driver, Opcode.Readdirplus));
  assert.equal(bytes.length, 2 * (2 * 128 + 64));
  assert.equal(bytes.slice(0, 48), words('0500000000000000 0000000000000000 0100000000000000'));
  assert.equal(bytes.slice(2 * 40, 2 * 48), '8877665544332211');
  assert.equal(bytes.slice(2 * 128, 2 * 160), A_BYTES);
  assert.equal(bytes.slice(2 * 160, 2 * 288), '00'.repeat(128));
  assert.equal(bytes.slice(2 * 288), EIGHT_BYTES);
});

test('an entry fits exactly, or not at all', () => {
  for (const [size, expected] of [
    [64, A_BYTES + EIGHT_BYTES],
    [63, A_BYTES],
    [32, A_BYTES],
  ] as const) {
    using driver = started((sink) => {
      for (const entry of [A, EIGHT]) {
        assert.equal(sink.fits(entry.name.length), entry === A || size === 64);
        // also where it does not fit: a fault of the file system
        sink.add(entry);
      }
      return 0;
    });
    assert.equal(hex(read(driver, Opcode.Readdir, { size })), expected);
    assert.equal(
      hex(read(driver, Opcode.Readdir, { size: 4096, space: size })),
      expected,
      'less space than size',
    );
  }
});

test('no space for one entry is EINVAL, the end of a directory is no bytes', () => {
  using driver = started((sink, offset) => {
    if (offset === 0n && sink.fits(1)) sink.add(A);
    return 0;
  });
  assert.equal(read(driver, Opcode.Readdir, { size: 31 }).error, EINVAL);
  assert.deepEqual(
    [read(driver, Opcode.Readdir, { offset: 1n }).error, hex(read(driver, Opcode.Readdir, { offset: 1n }))],
    [0, ''],
  );
});

test('entries before an error reach the guest, and the next request fails', () => {
  using driver = started((sink, offset) => {
    if (offset === 0n) sink.add(A, { node: 5, attributes: ATTRIBUTES });
    return ENOTDIR;
  });
  assert.equal(hex(read(driver, Opcode.Readdirplus)).slice(2 * 128), A_BYTES);
  assert.equal(read(driver, Opcode.Readdirplus, { offset: A.next }).error, ENOTDIR);
});

test('a reply has at most 64 KiB, whatever the guest asks for', () => {
  let added = 0;
  using driver = started((sink) => {
    while (sink.fits(1)) {
      sink.add(A);
      added++;
    }
    return 0;
  });
  const reply = read(driver, Opcode.Readdir, { size: 2 ** 32 - 1, space: 2 ** 20 });
  assert.equal(reply.payload.byteLength, 65_536);
  assert.equal(added, 65_536 / 32);
});
