import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { O_RDWR, O_TRUNC, O_WRONLY } from '../../native/open-flags.ts';
import { ROOT } from '../fuse/file-system.ts';
import { EBADF, ESTALE } from './errors.ts';
import { DIRECTORY_TYPE } from './inode-table.ts';
import { StateError, StateWriter } from './state-bytes.ts';
import { writeHeader, writeInode } from './state-format.ts';
import { CALLER, result, share, TestShare } from './test-share.ts';

/** Another back-end, to which a state is restored. */
function another(path: string, state: Uint8Array): TestShare {
  const other = new TestShare({ path });
  other.fs.load(state);
  return other;
}

test('inodes, references and open files continue in another back-end', () => {
  using shared = share();
  mkdirSync(shared.at('a', 'b'), { recursive: true });
  writeFileSync(shared.at('a', 'b', 'file'), 'text');
  const { node } = shared.lookup('a/b/file');
  assert.equal(shared.lookup('a/b/file').node, node);
  const handle = shared.open(node, O_RDWR);
  using other = another(shared.path, shared.fs.save());
  assert.equal(other.read(node, handle), 'text');
  assert.equal(other.write(node, handle, 'next', 4), 4);
  assert.equal(readFileSync(shared.at('a', 'b', 'file'), 'utf8'), 'textnext');
  assert.equal(other.lookup('a/b/file').node, node);
  other.fs.forget(node, 2);
  assert.equal(other.getattr(node).size, 8);
  other.fs.forget(node, 1);
  assert.equal(other.fs.getattr(node, undefined), ESTALE);
});

test('a new inode and a new handle after a restore have numbers of their own', () => {
  using shared = share();
  for (const name of ['a', 'b', 'c', 'd']) writeFileSync(shared.at(name), name);
  const nodes = ['a', 'b', 'c'].map((name) => shared.lookup(name).node);
  const handles = nodes.map((node) => shared.open(node));
  shared.fs.release(nodes[1] ?? 0, handles[1] ?? 0);
  shared.fs.forget(nodes[1] ?? 0, 1);
  shared.fs.release(nodes[0] ?? 0, handles[0] ?? 0);
  using other = another(shared.path, shared.fs.save());
  const { node } = other.lookup('d');
  assert.ok(node !== nodes[0] && node !== nodes[2]);
  assert.notEqual(other.open(node), handles[2]);
  assert.notEqual(other.open(node), handles[2]);
});

test('a state that was loaded is saved again', () => {
  using shared = share();
  mkdirSync(shared.at('a'));
  writeFileSync(shared.at('a', 'file'), 'text');
  linkSync(shared.at('a', 'file'), shared.at('other'));
  const { node } = shared.lookup('a/file');
  shared.lookup('other');
  shared.open(node);
  const state = shared.fs.save();
  using other = another(shared.path, state);
  assert.deepEqual(other.fs.save(), state);
});

test('the state of 3000 inodes with long names is loaded', () => {
  using shared = share();
  const names = Array.from({ length: 3000 }, (_, i) => `${'n'.repeat(1 + (i % 200))}-${i}`);
  for (const name of names) writeFileSync(shared.at(name), '');
  const nodes = names.map((name) => shared.lookup(name).node);
  const state = shared.fs.save();
  using other = another(shared.path, state);
  for (const [i, node] of nodes.entries()) {
    assert.equal(other.lookup(names[i] ?? '').node, node);
    assert.equal(other.getattr(node).inode, shared.getattr(node).inode);
  }
});

test('a file that was opened with O_TRUNC keeps its content', () => {
  using shared = share();
  const { node } = shared.create('file', O_WRONLY | O_TRUNC);
  const handle = shared.open(node, O_WRONLY | O_TRUNC);
  shared.write(node, handle, 'text');
  using other = another(shared.path, shared.fs.save());
  assert.equal(other.write(node, handle, 'next', 4), 4);
  assert.equal(readFileSync(shared.at('file'), 'utf8'), 'textnext');
});

test('a readonly directory opens the files of a state for reading alone', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'text');
  const { node } = shared.lookup('file');
  const handles = [O_RDWR, O_WRONLY, O_WRONLY | O_TRUNC].map((flags) => shared.open(node, flags));
  writeFileSync(shared.at('file'), 'text');
  using other = new TestShare({ path: shared.path, readonly: true });
  other.fs.load(shared.fs.save());
  for (const handle of handles) {
    assert.equal(other.read(node, handle), 'text');
    assert.equal(other.write(node, handle, 'next'), -EBADF);
  }
  assert.equal(readFileSync(shared.at('file'), 'utf8'), 'text');
  // the state has the flags of the guest still
  using writable = another(shared.path, other.fs.save());
  assert.equal(writable.write(node, handles[0] ?? 0, 'next'), 4);
});

test('a directory is read on where it was', () => {
  using shared = share();
  for (let i = 0; i < 500; i++) writeFileSync(shared.at(`file-${i}`), '');
  const { handle } = result(shared.fs.opendir(CALLER, ROOT));
  const names: string[] = [];
  let offset = 0n;
  const read = ({ fs }: TestShare, count: number): void => {
    const end = names.length + count;
    const add = (entry: { name: Uint8Array; next: bigint }): void => {
      names.push(Buffer.from(entry.name).toString());
      offset = entry.next;
    };
    const sink = { plus: false, fits: () => names.length < end, add };
    assert.equal(fs.readdir(CALLER, { node: ROOT, handle, offset }, sink), 0);
  };
  read(shared, 200);
  using other = another(shared.path, shared.fs.save());
  read(other, 1000);
  assert.equal(names.length, 502);
  assert.equal(new Set(names).size, 502);
});

test('a handle whose inode the guest has dropped is stale after a restore', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'text');
  const { node } = shared.lookup('file');
  const handle = shared.open(node);
  shared.fs.forget(node, 1);
  using other = another(shared.path, shared.fs.save());
  assert.equal(other.write(node, handle, 'text'), -ESTALE);
});

test('a file that was replaced or removed before the restore is stale, and the others are not', () => {
  using shared = share();
  for (const name of ['kept', 'replaced', 'removed']) writeFileSync(shared.at(name), name);
  const names = ['kept', 'replaced', 'removed'];
  const nodes = names.map((name) => shared.lookup(name).node);
  const handles = nodes.map((node) => shared.open(node));
  const state = shared.fs.save();
  writeFileSync(shared.at('new'), 'new');
  renameSync(shared.at('new'), shared.at('replaced'));
  rmSync(shared.at('removed'));
  using other = another(shared.path, state);
  const [kept = 0, ...gone] = nodes;
  assert.equal(other.read(kept, handles[0] ?? 0), 'kept');
  for (const [i, node] of gone.entries()) {
    const handle = handles[i + 1] ?? 0;
    assert.equal(other.fs.getattr(node, undefined), ESTALE);
    assert.equal(other.write(node, handle, 'text'), -ESTALE);
    assert.equal(other.fs.open(CALLER, node, 0), ESTALE);
    other.fs.release(node, handle);
  }
});

test('the device of the directory may have another number after the host has booted', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'text');
  const { node } = shared.lookup('file');
  const state = Buffer.from(shared.fs.save());
  // the identity of the root is behind magic and version; the only inode has the same device
  const device = state.readUInt32LE(8);
  const at = state.lastIndexOf(state.subarray(8, 12));
  assert.ok(at > 8);
  for (const place of [8, at]) state.writeUInt32LE(device + 1, place);
  using other = another(shared.path, state);
  assert.equal(other.read(node, other.open(node)), 'text');
  assert.equal(other.lookup('file').node, node);
});

test('a copy of the directory takes its place', () => {
  using shared = share();
  mkdirSync(shared.at('a', 'b'), { recursive: true });
  writeFileSync(shared.at('a', 'b', 'file'), 'text');
  writeFileSync(shared.at('gone'), '');
  symlinkSync('target', shared.at('link'));
  writeFileSync(shared.at('directory'), '');
  const names = ['a/b/file', 'gone', 'link', 'directory'];
  const [file = 0, gone = 0, link = 0, directory = 0] = names.map((name) => shared.lookup(name).node);
  const handle = shared.open(file, O_RDWR);
  const state = shared.fs.save();
  const copy = join(shared.outside, 'copy');
  cpSync(shared.path, copy, { recursive: true, verbatimSymlinks: true });
  rmSync(join(copy, 'gone'));
  rmSync(join(copy, 'directory'));
  mkdirSync(join(copy, 'directory'));
  using other = another(copy, state);
  appendFileSync(join(copy, 'a', 'b', 'file'), ' of the copy');
  assert.equal(other.read(file, handle), 'text of the copy');
  assert.equal(other.lookup('a/b/file').node, file);
  assert.equal(Buffer.from(result(other.fs.readlink(link))).toString(), 'target');
  assert.equal(other.fs.getattr(gone, undefined), ESTALE);
  assert.equal(other.fs.getattr(directory, undefined), ESTALE);
});

test('a file that was unlinked while it was open continues with its content, without a name', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR, 0o100_640);
  const other = shared.create('only known', O_RDWR);
  shared.write(node, handle, 'text');
  shared.write(other.node, other.handle, 'known');
  shared.fs.release(other.node, other.handle);
  shared.fs.setattr(CALLER, node, { modified: { seconds: 1000, nanoseconds: 0 } });
  shared.fs.unlink(CALLER, shared.place(ROOT, 'file'));
  shared.fs.unlink(CALLER, shared.place(ROOT, 'only known'));
  const state = shared.fs.save();
  assert.equal(shared.read(node, handle), 'text');
  shared.fs.reset();
  using next = another(shared.path, state);
  assert.equal(next.read(node, handle), 'text');
  assert.equal(next.write(node, handle, 'next', 4), 4);
  const { mode, links, size, modified } = next.getattr(node);
  assert.deepEqual([mode, links, size], [0o100_640, 0, 8]);
  assert.ok(modified.seconds > 1000);
  assert.equal(next.read(other.node, next.open(other.node)), 'known');
  assert.deepEqual(readdirSync(shared.path), []);
  // a second snapshot, and the last reference
  using last = another(shared.path, next.fs.save());
  assert.equal(last.read(node, handle), 'textnext');
  last.fs.release(node, handle);
  last.fs.forget(node, 1);
  assert.equal(last.fs.getattr(node, undefined), ESTALE);
});

test('a readonly directory has the unlinked files of a state for reading', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR);
  shared.write(node, handle, 'text');
  shared.fs.unlink(CALLER, shared.place(ROOT, 'file'));
  using other = new TestShare({ path: shared.path, readonly: true });
  other.fs.load(shared.fs.save());
  assert.equal(other.read(node, handle), 'text');
  assert.equal(other.read(node, other.open(node)), 'text');
  assert.equal(other.write(node, handle, 'next'), -EBADF);
  using last = new TestShare({ path: shared.path, readonly: true });
  last.fs.load(other.fs.save());
  assert.equal(last.read(node, handle), 'text');
  assert.deepEqual(readdirSync(shared.path), []);
});

test('an unlinked file that is too large for the state is stale after a restore', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR);
  const small = shared.create('small', O_RDWR);
  shared.fs.setattr(CALLER, node, { size: 2 ** 40 });
  shared.fs.unlink(CALLER, shared.place(ROOT, 'file'));
  shared.fs.unlink(CALLER, shared.place(ROOT, 'small'));
  using other = another(shared.path, shared.fs.save());
  assert.equal(other.fs.getattr(node, undefined), ESTALE);
  assert.equal(other.write(node, handle, 'text'), -ESTALE);
  assert.equal(other.write(small.node, small.handle, 'text'), 4);
});

test('a state that is cut off, changed or of another version is refused, and nothing changes', () => {
  using shared = share();
  mkdirSync(shared.at('a'));
  writeFileSync(shared.at('a', 'file'), 'text');
  const { node } = shared.lookup('a/file');
  const handle = shared.open(node);
  const state = shared.fs.save();
  for (let length = 0; length < state.length; length++)
    assert.throws(() => shared.fs.load(state.slice(0, length)), StateError);
  assert.throws(() => shared.fs.load(Uint8Array.of(...state, 0)), StateError);
  const version = state.slice();
  version[4] = 99;
  assert.throws(() => shared.fs.load(version), /version 99/);
  assert.equal(shared.read(node, handle), 'text');
});

for (const name of ['..', '.', 'a/b', '/etc', '', 'a\0b']) {
  test(`a state with the name ${JSON.stringify(name)} is refused`, () => {
    using shared = share();
    const good = 'x'.repeat(name.length);
    if (good !== '') writeFileSync(shared.at(good), '');
    else writeFileSync(shared.at('x'), '');
    shared.lookup(good === '' ? 'x' : good);
    const state = shared.fs.save();
    const at = state.lastIndexOf(0x78) - Math.max(name.length, 1) + 1;
    const changed = Buffer.from(state);
    if (name === '') changed[at - 1] = 0;
    else changed.write(name, at);
    assert.throws(() => shared.fs.load(changed), StateError);
  });
}

test('a state with random changes is refused as such, or loaded', () => {
  using shared = share();
  mkdirSync(shared.at('a', 'b'), { recursive: true });
  writeFileSync(shared.at('a', 'b', 'file'), 'inside');
  writeFileSync(join(shared.outside, 'secret'), 'outside');
  const { node } = shared.lookup('a/b/file');
  const handle = shared.open(node);
  const state = shared.fs.save();
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % below;
  };
  using other = new TestShare({ path: shared.path });
  for (let i = 0; i < 3000; i++) {
    const changed = state.slice();
    for (let changes = 1 + random(3); changes > 0; changes--) changed[random(state.length)] = random(256);
    try {
      other.fs.load(changed);
    } catch (error) {
      assert.ok(error instanceof StateError, String(error));
      continue;
    }
    const attributes = other.fs.getattr(node, undefined);
    if (typeof attributes === 'number') assert.equal(attributes, ESTALE);
    other.fs.release(node, handle);
    other.fs.lookup(CALLER, other.place(ROOT, 'a'));
    other.fs.save();
  }
});

/** A state of another directory, in which each inode has one name: that of its directory's entry `x`. */
function stateOf(inodes: number, parentOf: (inode: number) => number): Uint8Array {
  const writer = new StateWriter(inodes * 64);
  writeHeader(writer, { device: 1, inode: 1n, birth: 1, type: DIRECTORY_TYPE });
  writer.u32(inodes);
  for (let inode = ROOT + 1; inode <= ROOT + inodes; inode++) {
    const links = [{ parent: parentOf(inode), name: Buffer.from('x') }];
    const identity = { device: 1, inode: BigInt(inode), birth: 0, type: DIRECTORY_TYPE };
    writeInode(writer, { inode, identity, lookups: 1, links });
  }
  writer.u32(0);
  writer.u32(0);
  return writer.finish();
}

for (const [what, parentOf] of [
  ['a deep tree without its top', (inode: number) => inode - 1],
  ['directories in themselves', (inode: number) => inode],
  ['pairs of directories in each other', (inode: number) => inode ^ 1],
] as const)
  // minutes where each inode is searched for from the top on
  test(`the state of another directory is loaded at once: ${what}`, { timeout: 60_000 }, () => {
    using shared = share();
    const last = ROOT + 40_000;
    shared.fs.load(stateOf(last - ROOT, parentOf));
    for (const node of [ROOT + 1, last]) assert.equal(shared.fs.getattr(node, undefined), ESTALE);
    mkdirSync(shared.at('x'));
    assert.ok(shared.lookup('x').node > last);
  });

test('the state of a deep tree is loaded into a copy of it', () => {
  using shared = share({ descriptors: 16 });
  const way = Array.from({ length: 40 }, () => 'x');
  mkdirSync(shared.at(...way), { recursive: true });
  shared.fs.load(stateOf(way.length, (inode) => inode - 1));
  assert.equal(shared.lookup(way.join('/')).node, ROOT + way.length);
});
