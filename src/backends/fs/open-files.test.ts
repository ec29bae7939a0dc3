import assert from 'node:assert/strict';
import { test } from 'node:test';
import { libc, loadLibc } from '../../native/libc.ts';
import { DirectoryDescriptors } from './directory-descriptors.ts';
import { EBADF, ENFILE, ESTALE } from './errors.ts';
import { HostStatus } from './host-status.ts';
import { InodeTable } from './inode-table.ts';
import { KeptDescriptors } from './kept-descriptors.ts';
import { OpenFiles } from './open-files.ts';

await loadLibc();

const opened = (fd = libc().dup(2)) => ({ inode: 5, fd, flags: 0, isDirectory: false });

function isOpen(fd: number): boolean {
  const copy = libc().dup(fd);
  if (copy >= 0) libc().close(copy);
  return copy >= 0;
}

test('a file beyond the number of open files is closed and refused with ENFILE', () => {
  const files = new OpenFiles(2);
  assert.ok(files.add(opened()) >= 0 && files.add(opened()) >= 0);
  const third = opened();
  assert.equal(files.add(third), -ENFILE);
  assert.ok(!isOpen(third.fd));
  files.closeAll();
});

test('a file whose descriptor is too high is closed and refused with ENFILE', () => {
  const { fd } = opened();
  const files = new OpenFiles(100, fd - 1);
  assert.equal(files.add(opened(fd)), -ENFILE);
  assert.ok(!isOpen(fd));
  const kept = new KeptDescriptors(100, fd - 1);
  const next = opened().fd;
  kept.put(5, next);
  assert.equal(kept.get(5), -1);
  assert.ok(!isOpen(next));
});

test('a file that is restored with a descriptor that is too high is closed and gives ESTALE', () => {
  const { fd } = opened();
  const files = new OpenFiles(100, fd - 1);
  files.restore(3, opened(fd));
  assert.equal(files.get(5, 3), ESTALE);
  assert.ok(!isOpen(fd));
  assert.equal(files.count, 1);
  files.remove(5, 3);
  assert.equal(files.count, 0);
});

test('descriptors of directories that are too high do not become more', () => {
  const status = new HostStatus();
  const table = new InodeTable({ device: 1, inode: 1n, birth: 0, type: 4 }, () => undefined);
  const fds = [2, 3, 4, 5, 6].map(() => opened().fd);
  const highest = fds[2] ?? 0;
  const directories = new DirectoryDescriptors({ table, status, root: 0, limit: 100, highest });
  for (const [i, fd] of fds.entries()) directories.put(2 + i, fd);
  assert.deepEqual(
    fds.map((fd) => isOpen(fd)),
    [false, false, true, true, true],
  );
  directories.closeAll();
  status.free();
});

test('the oldest kept descriptor is closed for another', () => {
  const kept = new KeptDescriptors(2);
  const [a, b, c] = [opened().fd, opened().fd, opened().fd];
  kept.put(1, a);
  kept.put(2, b);
  kept.put(3, c);
  assert.deepEqual([kept.get(1), kept.get(2), kept.get(3)], [-1, b, c]);
  assert.ok(!isOpen(a));
  kept.closeAll();
  assert.ok(!isOpen(b) && !isOpen(c));
});

test('files continue under their handles, and new ones get free handles', () => {
  const files = new OpenFiles(100);
  files.restore(3, opened());
  files.restore(5, opened(-1));
  assert.equal(files.count, 2);
  assert.equal(files.get(5, 4), EBADF);
  assert.equal(files.get(5, 5), ESTALE);
  const handles = Array.from({ length: 5 }, () => files.add(opened()));
  assert.deepEqual(
    handles.toSorted((a, b) => a - b),
    [0, 1, 2, 4, 6],
  );
  files.closeAll();
  assert.equal(files.count, 0);
});
