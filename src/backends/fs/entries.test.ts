import assert from 'node:assert/strict';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { test } from 'node:test';
import { O_RDWR } from '../../native/open-flags.ts';
import { ROOT } from '../fuse/file-system.ts';
import { EEXIST, ENOENT, ENOTEMPTY, ESTALE } from './errors.ts';
import { CALLER, result, share } from './test-share.ts';

const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;

test('a lookup gives the attributes of the host', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'text', { mode: 0o640 });
  const { attributes } = shared.lookup('file');
  const stats = statSync(shared.at('file'), { bigint: true });
  assert.equal(attributes.inode, stats.ino);
  assert.equal(attributes.mode, 0o100_640);
  assert.equal(attributes.size, 4);
});

test('a lookup of a name that does not exist gives ENOENT', () => {
  using shared = share();
  assert.equal(shared.fs.lookup(CALLER, shared.place(ROOT, 'none')), ENOENT);
});

test('a lookup gives the symlink itself', () => {
  using shared = share();
  symlinkSync('/etc/passwd', shared.at('link'));
  const { node, attributes } = shared.lookup('link');
  assert.equal(attributes.mode >>> 12, 10);
  assert.equal(Buffer.from(result(shared.fs.readlink(node))).toString(), '/etc/passwd');
});

test('two names of a file have one inode, which stays when one name is removed', () => {
  using shared = share();
  writeFileSync(shared.at('a'), 'text');
  linkSync(shared.at('a'), shared.at('b'));
  const { node } = shared.lookup('a');
  assert.equal(shared.lookup('b').node, node);
  assert.equal(shared.fs.unlink(CALLER, shared.place(ROOT, 'b')), 0);
  assert.equal(shared.getattr(node).links, 1);
  assert.equal(shared.read(node, shared.open(node)), 'text');
});

test('a file whose newest name a host process removes is reached by an older one', () => {
  using shared = share();
  writeFileSync(shared.at('a'), 'text');
  linkSync(shared.at('a'), shared.at('b'));
  const { node } = shared.lookup('a');
  shared.lookup('b');
  unlinkSync(shared.at('b'));
  assert.equal(shared.getattr(node).links, 1);
});

test('entries of each type are made', () => {
  using shared = share();
  const directory = result(shared.fs.mkdir(shared.creation(ROOT, 'directory', 0o40_755)));
  assert.equal(directory.attributes.mode, 0o40_755);
  const fifo = result(shared.fs.mknod(shared.creation(ROOT, 'fifo', 0o10_600), 0));
  assert.equal(fifo.attributes.mode, 0o10_600);
  const file = result(shared.fs.mknod(shared.creation(directory.node, 'file', 0o100_600), 0));
  assert.equal(file.attributes.mode, 0o100_600);
  const link = result(shared.fs.symlink(shared.creation(ROOT, 'link', 0o120_777), shared.name('to/nowhere')));
  assert.equal(link.attributes.mode >>> 12, 10);
  assert.equal(readlinkSync(shared.at('link')), 'to/nowhere');
  assert.ok(statSync(shared.at('directory', 'file')).isFile());
});

test('a hard link of a file and of a symlink is made', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'text');
  symlinkSync('target', shared.at('link'));
  for (const name of ['file', 'link']) {
    const { node } = shared.lookup(name);
    const entry = result(shared.fs.link(CALLER, node, shared.place(ROOT, `${name}2`)));
    assert.equal(entry.node, node);
    assert.equal(entry.attributes.links, 2);
    assert.equal(lstatSync(shared.at(`${name}2`)).ino, lstatSync(shared.at(name)).ino);
  }
});

test('the children of a renamed directory are reached', () => {
  using shared = share();
  mkdirSync(shared.at('a', 'b', 'c'), { recursive: true });
  writeFileSync(shared.at('a', 'b', 'c', 'file'), 'text');
  mkdirSync(shared.at('elsewhere'));
  const { node } = shared.lookup('a/b/c/file');
  const elsewhere = shared.lookup('elsewhere').node;
  const a = shared.lookup('a').node;
  const move = { from: shared.place(a, 'b'), to: shared.place(elsewhere, 'new'), flags: 0 };
  assert.equal(shared.fs.rename(CALLER, move), 0);
  assert.equal(shared.read(node, shared.open(node)), 'text');
});

test('a rename replaces a file, which stays while the guest knows it', () => {
  using shared = share();
  writeFileSync(shared.at('old'), 'old');
  writeFileSync(shared.at('new'), 'new');
  const old = shared.lookup('old').node;
  const { node } = shared.lookup('new');
  const move = { from: shared.place(ROOT, 'new'), to: shared.place(ROOT, 'old'), flags: 0 };
  assert.equal(shared.fs.rename(CALLER, move), 0);
  assert.equal(shared.getattr(old).links, 0);
  assert.equal(shared.read(old, shared.open(old)), 'old');
  assert.equal(shared.read(node, shared.open(node)), 'new');
});

test('a rename that must not replace gives EEXIST', () => {
  using shared = share();
  writeFileSync(shared.at('a'), 'a');
  writeFileSync(shared.at('b'), 'b');
  const move = { from: shared.place(ROOT, 'a'), to: shared.place(ROOT, 'b'), flags: RENAME_NOREPLACE };
  assert.equal(shared.fs.rename(CALLER, move), EEXIST);
  assert.equal(readFileSync(shared.at('a'), 'utf8'), 'a');
});

test('an exchange swaps the names of two inodes', () => {
  using shared = share();
  writeFileSync(shared.at('a'), 'a');
  mkdirSync(shared.at('b'));
  writeFileSync(shared.at('b', 'file'), 'in b');
  const [a, inB] = [shared.lookup('a').node, shared.lookup('b/file').node];
  const move = { from: shared.place(ROOT, 'a'), to: shared.place(ROOT, 'b'), flags: RENAME_EXCHANGE };
  assert.equal(shared.fs.rename(CALLER, move), 0);
  assert.equal(shared.read(a, shared.open(a)), 'a');
  assert.equal(shared.read(inB, shared.open(inB)), 'in b');
});

test('a file that is unlinked stays until the guest drops its last reference', () => {
  using shared = share();
  const { node, handle } = shared.create('file', O_RDWR);
  shared.write(node, handle, 'text');
  shared.fs.release(node, handle);
  assert.equal(shared.fs.unlink(CALLER, shared.place(ROOT, 'file')), 0);
  assert.ok(!existsSync(shared.at('file')));
  assert.equal(shared.getattr(node).links, 0);
  assert.equal(shared.read(node, shared.open(node)), 'text');
  shared.fs.forget(node, 1);
  assert.equal(shared.fs.getattr(node, undefined), ESTALE);
});

test('a directory with entries is not removed', () => {
  using shared = share();
  mkdirSync(shared.at('a', 'b'), { recursive: true });
  assert.equal(shared.fs.rmdir(CALLER, shared.place(ROOT, 'a')), ENOTEMPTY);
  const { node } = shared.lookup('a');
  assert.equal(shared.fs.rmdir(CALLER, shared.place(node, 'b')), 0);
  assert.equal(shared.fs.rmdir(CALLER, shared.place(ROOT, 'a')), 0);
  assert.equal(shared.getattr(node).links, 0);
});

test('a file that a host process replaces is another inode, and the former one is stale', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'old');
  const { node } = shared.lookup('file');
  writeFileSync(shared.at('new'), 'new');
  renameSync(shared.at('new'), shared.at('file'));
  assert.equal(shared.fs.getattr(node, undefined), ESTALE);
  assert.equal(shared.fs.open(CALLER, node, 0), ESTALE);
  assert.notEqual(shared.lookup('file').node, node);
});

test('a file that is open stays known when a host process replaces it', () => {
  using shared = share();
  writeFileSync(shared.at('file'), 'old');
  const { node } = shared.lookup('file');
  const handle = shared.open(node);
  rmSync(shared.at('file'));
  assert.equal(shared.getattr(node).size, 3);
  assert.equal(shared.getattr(node, handle).size, 3);
});

test('a file with the inode number of one that was removed is another inode', () => {
  using shared = share();
  // some file systems use the number at once, others never
  for (let i = 0; i < 20; i++) {
    writeFileSync(shared.at('file'), 'text');
    const { node } = shared.lookup('file');
    rmSync(shared.at('file'));
    writeFileSync(shared.at('file'), 'other');
    assert.equal(shared.fs.getattr(node, undefined), ESTALE);
    assert.notEqual(shared.lookup('file').node, node);
    rmSync(shared.at('file'));
  }
});

test('a readonly directory refuses changes with EROFS', () => {
  using shared = share({ readonly: true });
  writeFileSync(shared.at('file'), 'text');
  const { node } = shared.lookup('file');
  const { fs } = shared;
  const place = shared.place(ROOT, 'file');
  const creation = shared.creation(ROOT, 'new', 0o40_755);
  const other = shared.place(ROOT, 'other');
  const results = [
    fs.unlink(CALLER, place),
    fs.rmdir(CALLER, place),
    fs.rename(CALLER, { from: place, to: other, flags: 0 }),
    fs.link(CALLER, node, other),
    fs.mkdir(creation),
    fs.mknod(creation, 0),
    fs.symlink(creation, place.name),
    fs.create(creation, O_RDWR),
    fs.open(CALLER, node, O_RDWR),
    fs.setattr(CALLER, node, { mode: 0o600 }),
    fs.access(CALLER, node, 2),
    fs.setxattr(
      CALLER,
      { node, name: place.name },
      { bytes: new Uint8Array(1), flags: 0, killsPrivileges: false },
    ),
    fs.removexattr(CALLER, { node, name: place.name }),
  ];
  assert.deepEqual(
    results,
    results.map(() => 30),
  );
  assert.equal(shared.read(node, shared.open(node)), 'text');
});
