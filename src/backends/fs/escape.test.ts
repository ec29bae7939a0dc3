// A host process replaces a directory by a symlink that leads out, and back, while the guest works below it: whichever call comes
// between, nothing outside of the shared directory is read, written, made, removed or shown.
import assert from 'node:assert/strict';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { O_RDWR, O_TRUNC } from '../../native/open-flags.ts';
import { ROOT } from '../fuse/file-system.ts';
import { EACCES } from './errors.ts';
import { CALLER, result, share, TestShare } from './test-share.ts';

/** Swaps two entries of a directory until it is terminated. */
const SWAPPER = `
  const { workerData } = require('node:worker_threads');
  const { renameSync } = require('node:fs');
  const [a, b, spare] = workerData;
  for (;;) {
    renameSync(a, spare);
    renameSync(b, a);
    renameSync(spare, b);
  }
`;

const SECRET = 'outside of the shared directory';

/** Every operation on names and inodes below `directory`, whatever it is at the moment. */
function tryAll(shared: TestShare, round: number): void {
  const { fs } = shared;
  const directory = fs.lookup(CALLER, shared.place(ROOT, 'directory'));
  if (typeof directory !== 'object' || 'then' in directory) return;
  const { node } = directory;
  const found = fs.lookup(CALLER, shared.place(node, 'file'));
  if (typeof found === 'object' && 'node' in found) {
    tryFile(shared, found.node);
    fs.forget(found.node, 1);
  }
  const creation = shared.creation(node, `made-${round}`, 0o100_644);
  const made = fs.create(creation, O_RDWR | O_TRUNC);
  if (typeof made === 'object' && 'node' in made) {
    shared.write(made.node, made.handle, 'inside');
    fs.release(made.node, made.handle);
    fs.unlink(CALLER, shared.place(node, `made-${round}`));
    fs.forget(made.node, 1);
  }
  fs.mkdir(shared.creation(node, `directory-${round % 5}`, 0o40_755));
  fs.unlink(CALLER, shared.place(node, 'victim'));
  fs.rename(CALLER, { from: shared.place(ROOT, `from-${round}`), to: shared.place(node, 'file'), flags: 0 });
  tryDirectory(shared, node);
  fs.forget(node, 1);
}

function tryFile(shared: TestShare, node: number): void {
  const { fs } = shared;
  const attributes = fs.getattr(node, undefined);
  if (typeof attributes === 'object' && 'size' in attributes) assert.notEqual(attributes.size, SECRET.length);
  fs.setattr(CALLER, node, { mode: 0o600, size: 6 });
  const opened = fs.open(CALLER, node, O_RDWR);
  if (typeof opened !== 'object' || !('handle' in opened)) return;
  assert.ok(!shared.read(node, opened.handle).includes('outside'));
  shared.write(node, opened.handle, 'inside');
  fs.release(node, opened.handle);
}

function tryDirectory({ fs }: TestShare, node: number): void {
  const opened = fs.opendir(CALLER, node);
  if (typeof opened !== 'object' || !('handle' in opened)) return;
  const { handle } = opened;
  const add = ({ name }: { name: Uint8Array }): void =>
    assert.notEqual(Buffer.from(name).toString(), 'victim-outside');
  fs.readdir(CALLER, { node, handle, offset: 0n }, { plus: false, fits: () => true, add });
  fs.releasedir(node, handle);
}

test('a directory that is swapped for a symlink during the calls does not lead out', async () => {
  // so few descriptors that directories are reached by their names again and again
  using shared = share({ descriptors: 16 });
  const secret = join(shared.outside, 'secret');
  mkdirSync(secret);
  for (const name of ['file', 'victim', 'victim-outside']) writeFileSync(join(secret, name), SECRET);
  const before = statSync(secret).mtimeMs;
  mkdirSync(shared.at('directory'));
  writeFileSync(shared.at('directory', 'file'), 'inside');
  symlinkSync(secret, shared.at('link'));
  const worker = new Worker(SWAPPER, {
    eval: true,
    workerData: [shared.at('directory'), shared.at('link'), shared.at('spare')],
  });
  const end = Date.now() + 2000;
  let rounds = 0;
  for (; Date.now() < end || rounds < 500; rounds++) tryAll(shared, rounds);
  await worker.terminate();
  assert.deepEqual(readdirSync(secret).toSorted(), ['file', 'victim', 'victim-outside']);
  for (const name of readdirSync(secret)) assert.equal(readFileSync(join(secret, name), 'utf8'), SECRET);
  assert.equal(statSync(secret).mtimeMs, before);
  assert.equal(statSync(join(secret, 'file')).mode & 0o777, 0o666);
});

test('the file system /proc below a shared directory is not reached', () => {
  using shared = new TestShare({ path: '/', readonly: true });
  assert.equal(shared.fs.lookup(CALLER, shared.place(ROOT, 'proc')), EACCES);
  assert.ok(shared.lookup('dev').node > ROOT);
  const { handle } = result(shared.fs.opendir(CALLER, ROOT));
  const entry = shared.readdir(ROOT, handle, { plus: true }).find(({ entry: { text } }) => text === 'proc');
  assert.ok(entry !== undefined);
  assert.equal(entry.found, undefined);
});

test('a file that is swapped for a symlink between lookup and use does not lead out', () => {
  using shared = share();
  const secret = join(shared.outside, 'secret');
  writeFileSync(secret, SECRET);
  writeFileSync(shared.at('file'), 'inside');
  const { node } = shared.lookup('file');
  renameSync(shared.at('file'), shared.at('former'));
  symlinkSync(secret, shared.at('file'));
  tryFile(shared, node);
  shared.fs.setxattr(
    CALLER,
    { node, name: shared.name('user.test') },
    {
      bytes: Buffer.from('x'),
      flags: 0,
      killsPrivileges: false,
    },
  );
  const opened = shared.fs.create(shared.creation(ROOT, 'file', 0o100_644), O_RDWR | O_TRUNC);
  assert.equal(typeof opened, 'number');
  shared.fs.link(CALLER, node, shared.place(ROOT, 'other'));
  assert.equal(readFileSync(secret, 'utf8'), SECRET);
  assert.deepEqual(readdirSync(shared.outside).toSorted(), ['secret', 'shared']);
  assert.equal(statSync(secret).nlink, 1);
});
