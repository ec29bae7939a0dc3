import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { libc } from '../../native/libc.ts';
import { O_APPEND, O_DIRECT, O_EXCL, O_RDWR, O_TRUNC, O_WRONLY } from '../../native/open-flags.ts';
import { ROOT } from '../fuse/file-system.ts';
import { EBADF, EEXIST, EISDIR, ELOOP, ENFILE, ENXIO, ESTALE } from './errors.ts';
import { CALLER, result, share } from './test-share.ts';

const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

test('a file is created, written and read', () => {
  using shared = share();
  const { node, handle, attributes } = shared.create('file', O_RDWR, 0o100_640);
  assert.equal(attributes.mode, 0o100_640);
  assert.equal(shared.write(node, handle, 'x'.repeat(1000)), 1000);
  assert.equal(shared.write(node, handle, 'end', 998), 3);
  assert.equal(shared.read(node, handle, 990), 'xxxxxxxxend');
  assert.equal(shared.read(node, handle, 998, 2), 'en');
  assert.equal(shared.read(node, handle, 5000), '');
  assert.equal(statSync(shared.at('file')).size, 1001);
});

test('a file that exists is opened by a create without O_EXCL', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'text');
  assert.equal(shared.fs.create(shared.creation(ROOT, 'file', 0o100_600), O_RDWR | O_EXCL), EEXIST);
  const { node, handle } = shared.create('file', O_RDWR);
  assert.equal(shared.read(node, handle), 'text');
  const truncated = shared.create('file', O_RDWR | O_TRUNC);
  assert.equal(truncated.node, node);
  assert.equal(shared.read(node, truncated.handle), '');
});

test('a write with O_APPEND goes to the end, also where the host has written meanwhile', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_WRONLY | O_APPEND);
  shared.write(node, handle, 'one', 0);
  appendFileSync(shared.at('file'), 'two');
  shared.write(node, handle, 'three', 3);
  assert.equal(readFileSync(shared.at('file'), 'utf8'), 'onetwothree');
});

test('with cache=always a file opened to write can be read, and O_APPEND has no effect', () => {
  using shared = share({ cache: 'always' });
  const { node, handle } = shared.create('file', O_WRONLY | O_APPEND);
  shared.write(node, handle, 'abcdef');
  shared.write(node, handle, 'X', 1);
  assert.equal(shared.read(node, handle), 'aXcdef');
});

test('data that is not aligned is written to a file opened with O_DIRECT', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR | O_DIRECT);
  assert.equal(shared.write(node, handle, 'abc', 1), 3);
  assert.equal(shared.read(node, handle, 1), 'abc');
});

test('O_TRUNC of an open empties the file', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'text');
  shared.open(shared.lookup('file').node, O_WRONLY | O_TRUNC);
  assert.equal(statSync(shared.at('file')).size, 0);
});

test('a handle is refused for another inode and after its release', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR);
  const other = shared.create('other', O_RDWR);
  assert.equal(shared.write(other.node, handle, 'text'), -EBADF);
  assert.equal(shared.write(node, 999, 'text'), -EBADF);
  shared.fs.release(node, handle);
  assert.equal(shared.write(node, handle, 'text'), -EBADF);
});

test('files other than regular ones are not opened', () => {
  using shared = share();
  assert.equal(spawnSync('mkfifo', [shared.at('fifo')]).status, 0);
  symlinkSync('/etc/passwd', shared.at('link'));
  mkdirSync(shared.at('directory'));
  const errors = ['fifo', 'link', 'directory'].map((name) =>
    shared.fs.open(CALLER, shared.lookup(name).node, O_RDWR),
  );
  assert.deepEqual(errors, [ENXIO, ELOOP, EISDIR]);
  const created = ['fifo', 'link', 'directory'].map((name) =>
    shared.fs.create(shared.creation(ROOT, name, 0o100_600), O_RDWR),
  );
  assert.deepEqual(created, [ENXIO, ELOOP, EISDIR]);
});

test('a FIFO that replaces a file is not opened, and the open does not wait for a writer', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'text');
  const { node } = shared.lookup('file');
  unlinkSync(shared.at('file'));
  assert.equal(spawnSync('mkfifo', [shared.at('file')]).status, 0);
  assert.equal(shared.fs.open(CALLER, node, 0), ESTALE);
});

test('open files are bounded, and one that is released can be opened again', () => {
  using shared = share({ descriptors: 64 });
  writeFileSync(shared.at('file'), 'text');
  const { node } = shared.lookup('file');
  const handles = Array.from({ length: 32 }, () => shared.open(node));
  assert.equal(shared.fs.open(CALLER, node, 0), ENFILE);
  assert.equal(shared.fs.opendir(CALLER, ROOT), ENFILE);
  assert.equal(shared.fs.create(shared.creation(ROOT, 'new', 0o100_600), O_RDWR), ENFILE);
  assert.ok(!existsSync(shared.at('new')));
  shared.fs.release(node, handles[5] ?? -1);
  assert.equal(shared.open(node), handles[5]);
});

test('holes and data are found, ranges are allocated and punched', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR);
  const range = { node, handle, offset: 0, length: 1 << 20 };
  assert.equal(shared.fs.fallocate(range, FALLOC_FL_KEEP_SIZE), 0);
  assert.equal(shared.getattr(node).size, 0);
  assert.equal(shared.fs.fallocate(range, 0), 0);
  assert.equal(shared.getattr(node).size, 1 << 20);
  shared.write(node, handle, 'data', 512 * 1024);
  const hole = { node, handle, offset: 0, length: 256 * 1024 };
  assert.equal(shared.fs.fallocate(hole, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE), 0);
  assert.equal(shared.fs.lseek(node, handle, { offset: 0, whence: SEEK_HOLE }), 0);
  const data = shared.fs.lseek(node, handle, { offset: 0, whence: SEEK_DATA });
  assert.ok(typeof data === 'number' && data >= 256 * 1024 && data <= 512 * 1024);
});

test('a sparse file of 8 GiB has its size', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR);
  assert.equal(result(shared.fs.setattr(CALLER, node, { size: 2 ** 33 })).size, 2 ** 33);
  shared.write(node, handle, 'end', 2 ** 33 - 3);
  assert.equal(shared.read(node, handle, 2 ** 33 - 4), '\0end');
  assert.equal(statSync(shared.at('file')).size, 2 ** 33);
});

test('a range is copied between files', () => {
  using shared = share();
  const from = shared.create('from', O_RDWR);
  const to = shared.create('to', O_RDWR);
  shared.write(from.node, from.handle, '0123456789');
  const source = { node: from.node, handle: from.handle, offset: 2, length: 5 };
  assert.equal(shared.fs.copyFileRange(source, { node: to.node, handle: to.handle, offset: 1 }), 5);
  assert.equal(shared.read(to.node, to.handle), '\u000023456');
});

test('an unlinked file is cut, and its attributes change, by its handle', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR);
  shared.write(node, handle, 'text');
  shared.fs.unlink(CALLER, shared.place(ROOT, 'file'));
  const change = { handle, size: 2, mode: 0o600, modified: { seconds: 5, nanoseconds: 6 } };
  const { size, mode, modified } = result(shared.fs.setattr(CALLER, node, change));
  assert.deepEqual([size, mode, modified], [2, 0o100_600, change.modified]);
});

test('times are set to a time, to now, and left as they are', () => {
  using shared = share();
  const { node } = shared.create('file', O_RDWR);
  const accessed = { seconds: -100, nanoseconds: 7 };
  const first = result(
    shared.fs.setattr(CALLER, node, { accessed, modified: { seconds: 2 ** 33, nanoseconds: 1 } }),
  );
  assert.deepEqual(first.accessed, accessed);
  assert.deepEqual(first.modified, { seconds: 2 ** 33, nanoseconds: 1 });
  const next = result(shared.fs.setattr(CALLER, node, { modified: 'now' }));
  assert.deepEqual(next.accessed, accessed);
  assert.ok(Math.abs(next.modified.seconds - Date.now() / 1000) < 100);
});

test('times and owner of a symlink are set, not those of its target', () => {
  using shared = share();
  const target = join(shared.outside, 'target');
  writeFileSync(target, '');
  symlinkSync(target, shared.at('link'));
  const before = statSync(target);
  const { node } = shared.lookup('link');
  const modified = { seconds: 5, nanoseconds: 0 };
  assert.deepEqual(
    result(shared.fs.setattr(CALLER, node, { modified, uid: process.getuid?.() ?? 0 })).modified,
    modified,
  );
  assert.equal(statSync(target).mtimeMs, before.mtimeMs);
  assert.equal(statSync(target).ctimeMs, before.ctimeMs);
});

test('the size of a file that another process has cut is read', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR);
  shared.write(node, handle, '0123456789');
  truncateSync(shared.at('file'), 4);
  assert.equal(shared.getattr(node, handle).size, 4);
  assert.equal(shared.read(node, handle), '0123');
});

test('a file is written to the disk, and so are directory and file system', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR);
  assert.equal(shared.fs.fsync(node, handle, false), 0);
  assert.equal(shared.fs.fsync(node, handle, true), 0);
  const directory = result(shared.fs.opendir(CALLER, ROOT)).handle;
  assert.equal(shared.fs.fsyncdir(ROOT, directory, false), 0);
  assert.equal(shared.fs.syncfs(ROOT), 0);
});

test('numbers of the file system are those of the host', () => {
  using shared = share();
  const { blockSize, nameLength, blocks } = result(shared.fs.statfs(ROOT));
  assert.ok(blockSize >= 512 && blocks > 0);
  assert.equal(nameLength, 255);
});

test('all descriptors are closed when the file system is', () => {
  const count = (): number => {
    const probe = libc().dup(0);
    libc().close(probe);
    return probe;
  };
  const before = count();
  {
    using shared = share();
    mkdirSync(shared.at('a', 'b'), { recursive: true });
    writeFileSync(shared.at('a', 'b', 'file'), '');
    shared.open(shared.lookup('a/b/file').node);
    result(shared.fs.opendir(CALLER, shared.lookup('a').node));
    shared.create('gone', O_RDWR);
    shared.fs.unlink(CALLER, shared.place(ROOT, 'gone'));
    renameSync(shared.at('a'), shared.at('c'));
    assert.ok(count() > before);
  }
  assert.equal(count(), before);
});
