import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryTree } from './memory-tree.ts';
import { TestClient } from './test-client.ts';

const client = (files = {}, options = {}) => {
  const tree = memoryTree(files, options);
  return { tree, guest: new TestClient(tree) };
};

test('files and directories of a tree', async () => {
  const { guest, tree } = client({ 'etc/hosts': 'text', 'bin/a': Buffer.from([0, 255]), 'out/': '' });
  assert.deepEqual(await guest.names(''), ['bin', 'etc', 'out']);
  assert.deepEqual(await guest.names('out'), []);
  assert.equal(String(await guest.read('etc/hosts', 3)), 'text');
  assert.deepEqual([...(await guest.read('bin/a'))], [0, 255]);
  assert.equal((await guest.stat('etc/hosts')).mode, 0o100_644);
  assert.equal((await guest.stat('etc')).mode, 0o040_755);
  assert.equal((await guest.stat('')).links, 5);
  assert.deepEqual(tree.paths(), ['bin/a', 'etc/hosts']);
  await assert.rejects(guest.node('etc/none'), /^Error: ENOENT$/);
  await assert.rejects(guest.node('etc/hosts/x'), /^Error: ENOTDIR$/);
  assert.deepEqual(guest.faults, []);
});

test('invalid paths of a tree', () => {
  for (const path of ['', '/a', 'a//b', '../a', 'a/./b', 'a\0b', 'n'.repeat(256)])
    assert.throws(() => memoryTree({ [path]: '' }), { code: 'EINVAL' }, path);
  assert.throws(() => memoryTree({ a: '', 'a/b': '' }), { code: 'ENOTDIR' });
  assert.throws(() => memoryTree({ 'a/b': '', a: '' }), { code: 'EISDIR' });
});

test('a guest writes, and the program reads', async () => {
  const { guest, tree } = client({ 'in/a': 'old content' });
  await guest.mkdir('out');
  await guest.write('out/a', 'x'.repeat(100_000));
  await guest.write('in/a', 'new');
  assert.equal(String(tree.readFile('in/a')), 'new');
  assert.equal(tree.readFile('out/a')?.length, 100_000);
  assert.equal(tree.readFile('out'), undefined);
  assert.equal(tree.readFile('none/a'), undefined);
  const { uid, gid, size, blocks } = await guest.stat('out/a');
  assert.deepEqual({ uid, gid, size, blocks }, { uid: 1000, gid: 1001, size: 100_000, blocks: 196 });
  tree.writeFile('in/new/b', 'by the program');
  assert.equal(String(await guest.read('in/new/b')), 'by the program');
});

test('holes and truncated parts are zeros', async () => {
  const { guest } = client({ a: 'abcdef' });
  const node = await guest.node('a');
  await guest.call('setattr', { node, change: { size: 2 } });
  await guest.call('write', { node, offset: 5, data: Buffer.from('x') });
  assert.deepEqual(String(await guest.read('a')), 'ab\0\0\0x');
  await guest.call('setattr', { node, change: { size: 9 } });
  assert.deepEqual(String(await guest.read('a')), 'ab\0\0\0x\0\0\0');
});

test('names, links and renames', async () => {
  const { guest } = client({ 'a/x': 'x', 'b/y': 'y' });
  await guest.link('a/x', 'b/z');
  assert.equal(await guest.node('a/x'), await guest.node('b/z'));
  assert.equal((await guest.stat('b/z')).links, 2);
  await guest.rename('a/x', 'b/y');
  assert.deepEqual(await guest.names('b'), ['y', 'z']);
  assert.equal(String(await guest.read('b/y')), 'x');
  await guest.rename('b/y', 'b/z');
  assert.deepEqual(await guest.names('b'), ['y', 'z']);
  await guest.symlink('../a/x', 'b/s');
  assert.equal(await guest.readlink('b/s'), '../a/x');
  await assert.rejects(guest.rename('b', 'b/inside'), /^Error: EINVAL$/);
  await assert.rejects(guest.rename('a', 'b'), /^Error: ENOTEMPTY$/);
  await assert.rejects(guest.rename('a', 'b/y'), /^Error: ENOTDIR$/);
  await assert.rejects(guest.rename('b/y', 'a'), /^Error: EISDIR$/);
  await assert.rejects(guest.rename('b/y', 'b/z', 1), /^Error: EEXIST$/);
  await assert.rejects(guest.rename('b/y', 'b/z', 2), /^Error: EINVAL$/);
  await assert.rejects(guest.unlink('b'), /^Error: EISDIR$/);
  await assert.rejects(guest.rmdir('b'), /^Error: ENOTEMPTY$/);
  await assert.rejects(guest.rmdir('b/y'), /^Error: ENOTDIR$/);
  await guest.rmdir('a');
  assert.equal((await guest.stat('')).links, 3);
});

test('names that are not UTF-8 stay as they are', async () => {
  const { guest } = client();
  const name = Uint8Array.of(0x61, 0xff, 0x80);
  const { node } = await guest.call('create', { parent: 1, name, mode: 0o100_600, flags: 2 });
  assert.equal((await guest.call('lookup', { parent: 1, name })).node, node);
  const listed = (await guest.list('')).map((entry) => [...entry.name]);
  assert.deepEqual(listed.at(-1), [...name]);
  const target = Uint8Array.of(0xfe);
  await guest.call('symlink', { parent: 1, name: Buffer.from('s'), target });
  assert.deepEqual([...(await guest.call('readlink', await guest.node('s')))], [...target]);
});

test('an unlinked file exists while it is open, and its space is released then', async () => {
  const { guest, tree } = client({}, { maxBytes: 1000, maxFiles: 3 });
  const free = async () => (await guest.call('statfs', undefined)).filesFree;
  const { node, handle } = await guest.create('a');
  await guest.call('write', { node, offset: 0, data: Buffer.alloc(1000) });
  await guest.unlink('a');
  await assert.rejects(guest.write('b', 'x'), /^Error: ENOSPC$/);
  assert.equal((await guest.call('read', { handle, offset: 990, length: 100 })).length, 10);
  assert.equal(await free(), 0);
  guest.release(handle);
  // the file is closed after the request that releases it
  await new Promise((resolve) => setImmediate(resolve));
  await guest.write('b', 'x'.repeat(1000));
  assert.equal(await free(), 1);
  // the guest may still have the number of the removed file
  await assert.rejects(guest.call('write', { node, offset: 0, data: Buffer.from('x') }), /ENOENT|ESTALE/);
  assert.deepEqual(tree.paths(), ['b']);
});

test('limits of a tree', async () => {
  const { guest } = client({ a: 'x'.repeat(10) }, { maxBytes: 10, maxFiles: 2 });
  await assert.rejects(guest.create('b'), /^Error: ENOSPC$/);
  await assert.rejects(guest.write('a', 'x'.repeat(11)), /^Error: ENOSPC$/);
  const node = await guest.node('a');
  await assert.rejects(guest.call('setattr', { node, change: { size: 2 ** 50 } }), /^Error: ENOSPC$/);
  assert.throws(() => memoryTree({ a: 'x'.repeat(11) }, { maxBytes: 10 }), { code: 'ENOSPC' });
});

test('attributes that a guest changes', async () => {
  const { guest } = client({ a: 'x' });
  const node = await guest.node('a');
  const times = {
    accessed: { seconds: -1, nanoseconds: 999_999_999 },
    modified: { seconds: 2, nanoseconds: 3 },
  };
  const changed = await guest.call('setattr', {
    node,
    change: { mode: 0o104_755, uid: 1, gid: 2, ...times },
  });
  assert.deepEqual(
    [changed.mode, changed.uid, changed.gid, changed.accessed, changed.modified],
    [0o104_755, 1, 2, times.accessed, times.modified],
  );
  const after = await guest.call('setattr', { node, change: { killsPrivileges: true } });
  assert.equal(after.mode, 0o100_755);
});
