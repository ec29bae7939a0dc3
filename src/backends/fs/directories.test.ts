import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../fuse/file-system.ts';
import { EBADF, ENOENT, ENOTDIR, ESTALE } from './errors.ts';
import { CALLER, result, share } from './test-share.ts';

test('a directory is read in requests of any size', () => {
  using shared = share();
  mkdirSync(shared.at('directory'));
  const expected = ['.', '..'];
  for (let i = 0; i < 3000; i++) {
    writeFileSync(shared.at('directory', `file ${i}`), '');
    expected.push(`file ${i}`);
  }
  const { node } = shared.lookup('directory');
  for (const perRequest of [1, 7, 1000, 10_000]) {
    const { handle } = result(shared.fs.opendir(CALLER, node));
    const names = shared.readdir(node, handle, { perRequest }).map(({ entry }) => entry.text);
    assert.deepEqual(names.toSorted(), expected.toSorted());
    shared.fs.releasedir(node, handle);
  }
});

test('entries have the types and inode numbers of the host', () => {
  using shared = share();
  writeFileSync(shared.at('file'), '');
  mkdirSync(shared.at('directory'));
  symlinkSync('x', shared.at('link'));
  const { handle } = result(shared.fs.opendir(CALLER, ROOT));
  const entries = shared.readdir(ROOT, handle).map(({ entry }) => entry);
  const types = Object.fromEntries(entries.map(({ text, type }) => [text, type]));
  // as an ordinary user, a FIFO of the guest is a regular file of the host
  const file = process.geteuid?.() === 0 ? 0o100_000 : 0;
  assert.deepEqual(types, { '.': 0o40_000, '..': 0o40_000, file, directory: 0o40_000, link: 0o120_000 });
  const found = entries.find(({ text }) => text === 'file');
  assert.equal(found?.inode, statSync(shared.at('file'), { bigint: true }).ino);
  const root = statSync(shared.path, { bigint: true }).ino;
  assert.deepEqual(
    entries.filter(({ text }) => text.startsWith('.')).map(({ inode }) => inode),
    [root, root],
  );
});

test('entries with their inodes are references of the guest, those that do not fit are not', () => {
  using shared = share();
  for (let i = 0; i < 20; i++) writeFileSync(shared.at(`file-${i}`), '');
  const { handle } = result(shared.fs.opendir(CALLER, ROOT));
  const found = shared.readdir(ROOT, handle, { perRequest: 3, plus: true });
  const nodes = found.flatMap(({ found: entry }) => (entry === undefined ? [] : [entry.node]));
  assert.equal(nodes.length, 20);
  for (const node of nodes) {
    shared.fs.forget(node, 1);
    assert.equal(shared.fs.getattr(node, undefined), ESTALE);
  }
});

test('a directory is read again from its start, and from any entry', () => {
  using shared = share();
  for (let i = 0; i < 1000; i++) writeFileSync(shared.at(`file-${i}`), '');
  const { handle } = result(shared.fs.opendir(CALLER, ROOT));
  const all = shared.readdir(ROOT, handle).map(({ entry }) => entry);
  assert.deepEqual(
    shared.readdir(ROOT, handle).map(({ entry }) => entry),
    all,
  );
  for (const at of [0, 500, 999]) {
    const from = { node: ROOT, handle, offset: all[at]?.next ?? 0n };
    const names: string[] = [];
    const add = ({ name }: { name: Uint8Array }): void => void names.push(Buffer.from(name).toString());
    shared.fs.readdir(CALLER, from, { plus: false, fits: () => names.length < 2, add });
    assert.deepEqual(
      names,
      all.slice(at + 1, at + 3).map(({ text }) => text),
    );
  }
});

test('more directories are read at a time than there are blocks of memory', () => {
  using shared = share();
  for (let i = 0; i < 100; i++) writeFileSync(shared.at(`file-${i}`), '');
  const handles = Array.from({ length: 40 }, () => result(shared.fs.opendir(CALLER, ROOT)).handle);
  const names = handles.map(() => new Set<string>());
  const offsets = handles.map(() => 0n);
  for (let round = 0; round < 11; round++) {
    for (const [i, handle] of handles.entries()) {
      let left = 10;
      const add = ({ name, next }: { name: Uint8Array; next: bigint }): void => {
        names[i]?.add(Buffer.from(name).toString());
        offsets[i] = next;
        left--;
      };
      const sink = { plus: false, fits: () => left > 0, add };
      assert.equal(shared.fs.readdir(CALLER, { node: ROOT, handle, offset: offsets[i] ?? 0n }, sink), 0);
    }
  }
  for (const found of names) assert.equal(found.size, 102);
});

test('offsets that are none give an error or entries, and nothing else', () => {
  using shared = share();
  for (let i = 0; i < 10; i++) writeFileSync(shared.at(`file-${i}`), '');
  const { handle } = result(shared.fs.opendir(CALLER, ROOT));
  for (const offset of [1n, 2n ** 31n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    const error = shared.fs.readdir(
      CALLER,
      { node: ROOT, handle, offset },
      { plus: false, fits: () => true, add: () => undefined },
    );
    assert.ok(typeof error === 'number' && error >= 0);
  }
  assert.equal(shared.readdir(ROOT, handle).length, 12);
});

test('a directory handle is no file, and a file no directory', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'text');
  const { node } = shared.lookup('file');
  const handle = shared.open(node);
  const sink = { plus: false, fits: () => true, add: () => undefined };
  assert.equal(shared.fs.opendir(CALLER, node), ENOTDIR);
  assert.equal(shared.fs.readdir(CALLER, { node, handle, offset: 0n }, sink), ENOTDIR);
  assert.equal(shared.fs.readdir(CALLER, { node: ROOT, handle, offset: 0n }, sink), EBADF);
  assert.equal(shared.fs.lookup(CALLER, shared.place(node, 'x')), ENOTDIR);
});

test('directories whose descriptors are closed are reached by their names', () => {
  using shared = share({ descriptors: 16 });
  const leaves: string[] = [];
  for (let i = 0; i < 8; i++)
    for (let j = 0; j < 8; j++) {
      mkdirSync(shared.at(`a${i}`, `b${j}`, 'c', 'd'), { recursive: true });
      leaves.push(`a${i}/b${j}/c/d`);
      writeFileSync(shared.at(`a${i}`, `b${j}`, 'c', 'd', 'file'), `${i}/${j}`);
    }
  const nodes = leaves.map((leaf) => shared.lookup(`${leaf}/file`).node);
  for (const [i, node] of nodes.entries()) {
    const handle = shared.open(node);
    assert.equal(shared.read(node, handle), `${Math.floor(i / 8)}/${i % 8}`);
    shared.fs.release(node, handle);
  }
});

test('a directory that a host process replaces is stale once its descriptor is closed', () => {
  using shared = share({ descriptors: 16 });
  mkdirSync(shared.at('a', 'b'), { recursive: true });
  writeFileSync(shared.at('a', 'b', 'file'), 'text');
  const { node } = shared.lookup('a/b/file');
  renameSync(shared.at('a'), join(shared.outside, 'former'));
  mkdirSync(shared.at('a', 'b'), { recursive: true });
  writeFileSync(shared.at('a', 'b', 'file'), 'other');
  for (let i = 0; i < 20; i++) {
    mkdirSync(shared.at(`d${i}`));
    shared.fs.lookup(CALLER, shared.place(shared.lookup(`d${i}`).node, 'none'));
  }
  assert.equal(shared.fs.getattr(node, undefined), ESTALE);
  assert.equal(shared.fs.open(CALLER, node, 0), ESTALE);
});

test('a lookup in a directory that was removed fails', () => {
  using shared = share();
  mkdirSync(shared.at('a'));
  const { node } = shared.lookup('a');
  rmSync(shared.at('a'), { recursive: true });
  const error = shared.fs.lookup(CALLER, shared.place(node, 'x'));
  assert.ok(error === ENOENT || error === ESTALE);
  const made = shared.fs.mkdir(shared.creation(node, 'x', 0o40_755));
  assert.ok(made === ENOENT || made === ESTALE);
});

test('a path deeper than PATH_MAX is reached', () => {
  using shared = share({ descriptors: 16 });
  let parent = ROOT;
  const name = 'd'.repeat(200);
  const nodes: number[] = [];
  for (let i = 0; i < 60; i++) {
    const { node } = result(shared.fs.mkdir(shared.creation(parent, name, 0o40_755)));
    nodes.push(node);
    parent = node;
  }
  const { node } = shared.create('file', 2, 0o100_644, parent);
  assert.equal(shared.getattr(nodes[30] ?? 0).links, 3);
  assert.equal(shared.getattr(node).size, 0);
  shared.fs.unlink(CALLER, shared.place(parent, 'file'));
  while (nodes.pop() !== undefined)
    assert.equal(shared.fs.rmdir(CALLER, shared.place(nodes.at(-1) ?? ROOT, name)), 0);
  assert.deepEqual(readdirSync(shared.path), []);
});
