import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { loadLibc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import type { DirectorySink, Name } from '../fuse/file-system.ts';
import { Parts } from '../vhost-user/descriptor-chain.ts';
import { memoryTree } from './memory-tree.ts';
import { ProgramFileSystem } from './program-file-system.ts';
import type { FsProvider } from './provider.ts';
import { RemoteFileSystem } from './remote-file-system.ts';
import type { FromThread } from './thread-messages.ts';

await loadLibc();

const { EIO, ENOENT, ENOMEM, ENOTCONN } = constants.errno;
const CALLER = { uid: 0, gid: 0, pid: 1 };

/** The two sides of a share in one thread; messages are exchanged at once, results of promises later. */
function join(provider: FsProvider, { timeoutMs = 1000, concurrency = 4 } = {}) {
  const program = new ProgramFileSystem(provider, () => undefined);
  const aborts = new Map<number, AbortController>();
  const running: Promise<void>[] = [];
  const post = (message: FromThread): void => {
    if (message.kind === 'notice') program.notice(message.notice);
    if (message.kind === 'abort') aborts.get(message.id)?.abort();
    if (message.kind !== 'call') return;
    const { id, operation } = message;
    const controller = new AbortController();
    aborts.set(id, controller);
    const perform = async (): Promise<void> =>
      files.settle(id, await program.run(operation, controller.signal));
    running.push(perform());
  };
  const files = new RemoteFileSystem({ post, timeoutMs, concurrency });
  return { files, program, aborts, running };
}

function nameOf(text: string): Name {
  return { bytes: Buffer.from(text), address: 0 };
}

/** Buffers of a guest: two parts of a block. */
function buffers(bytes: number): { block: Block; parts: Parts } {
  const block = allocate(bytes);
  const parts = new Parts();
  const first = Math.floor(bytes / 3);
  parts.add(block.address, first);
  parts.add(block.address + first, bytes - first);
  return { block, parts };
}

function textOf({ view }: Block, bytes: number): string {
  return Buffer.from(view.buffer, view.byteOffset, bytes).toString();
}

test('requests reach the provider, and their results the buffers of the guest', async () => {
  const { files } = join(memoryTree({ a: 'content of a' }));
  const entry = await files.lookup(CALLER, { parent: 1, name: nameOf('a') });
  assert.ok(typeof entry === 'object');
  const opened = await files.open(CALLER, entry.node, 2);
  assert.ok(typeof opened === 'object');
  const { block, parts } = buffers(100);
  const range = { node: entry.node, handle: opened.handle, offset: 8, length: 100 };
  assert.equal(await files.read(range, parts), 4);
  assert.equal(textOf(block, 4), 'of a');
  const flags = { isFromCache: false, killsPrivileges: false };
  assert.equal(await files.write(CALLER, { ...range, offset: 0, length: 4, ...flags }, parts), 4);
  assert.equal(await files.read({ ...range, offset: 0 }, parts), 12);
  assert.equal(textOf(block, 12), 'of aent of a');
  assert.equal(await files.lookup(CALLER, { parent: 1, name: nameOf('b') }), ENOENT);
  block.free();
  parts.free();
});

test('a directory fills the buffer of the guest, and entries that do not fit are no references', async () => {
  const entries = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`f${i}`, '']));
  const { files, program } = join(memoryTree(entries));
  const opened = await files.opendir(CALLER, 1);
  assert.ok(typeof opened === 'object');
  for (const plus of [false, true]) {
    const names: string[] = [];
    let space = 40;
    const sink: DirectorySink = {
      plus,
      fits: () => space > 0,
      add: ({ name }, found) => {
        space--;
        names.push(Buffer.from(name).toString());
        assert.equal(found !== undefined, plus && names.length > 2);
      },
    };
    assert.equal(await files.readdir(CALLER, { handle: opened.handle, offset: 0n }, sink), 0);
    assert.equal(names.length, 40);
    assert.deepEqual(names.slice(0, 3), ['.', '..', 'f0']);
    assert.equal(program.knownNodes, plus ? 39 : 1);
  }
});

/** A provider whose reads settle when `finish` is called. */
function slow() {
  const tree = memoryTree({ a: 'x' });
  const waiting: (() => void)[] = [];
  const signals: AbortSignal[] = [];
  const provider: FsProvider = {
    root: tree.root,
    lookup: async (_, name, { signal }) => {
      signals.push(signal);
      await new Promise<void>((resolve) => waiting.push(resolve));
      return tree.root.entries.get(String(name));
    },
    getattr: () => ({ type: 'file', size: 1 }),
    readdir: () => [],
    read: () => Buffer.from('x'),
  };
  return { provider, waiting, signals };
}

test('the number of calls at a time is bounded', async () => {
  const { provider, waiting } = slow();
  const { files } = join(provider, { concurrency: 2 });
  const place = { parent: 1, name: nameOf('a') };
  const results = [1, 2, 3].map(() => files.lookup(CALLER, place));
  assert.equal(waiting.length, 2);
  waiting[0]?.();
  await results[0];
  assert.equal(waiting.length, 3);
  for (const finish of waiting) finish();
  for (const result of results) assert.ok(typeof (await result) === 'object');
});

test('a call fails at its time limit, and its late result leaves no reference', async () => {
  const { provider, waiting, signals } = slow();
  const { files, program, running } = join(provider, { timeoutMs: 20, concurrency: 1 });
  const place = { parent: 1, name: nameOf('a') };
  const [first, second] = [files.lookup(CALLER, place), files.lookup(CALLER, place)];
  const left = files.expire();
  assert.ok(left > 0 && left <= 20, `${left}`);
  await new Promise((resolve) => setTimeout(resolve, 25));
  // the second call starts in the place of the first
  assert.ok(files.expire() > 0);
  assert.equal(await first, EIO);
  assert.deepEqual([signals.length, signals[0]?.aborted], [2, true]);
  for (const finish of waiting) finish();
  assert.ok(typeof (await second) === 'object');
  await Promise.all(running);
  assert.equal(files.expire(), -1);
  assert.equal(program.knownNodes, 2);
});

test('the references of results that cross an abort are dropped', async () => {
  const tree = memoryTree({ a: 'x' });
  const posted: FromThread[] = [];
  const program = new ProgramFileSystem(tree, () => undefined);
  const files = new RemoteFileSystem({ post: (one) => posted.push(one), timeoutMs: 10, concurrency: 9 });
  const lookup = files.lookup(CALLER, { parent: 1, name: nameOf('a') });
  const opendir = files.opendir(CALLER, 1);
  const results = [];
  for (const one of posted.splice(0))
    if (one.kind === 'call') results.push({ id: one.id, outcome: await program.run(one.operation, NEVER) });
  assert.deepEqual([program.knownNodes, program.openFiles], [2, 1]);
  files.reset();
  assert.deepEqual([await lookup, await opendir], [ENOTCONN, ENOTCONN]);
  posted.length = 0;
  for (const { id, outcome } of results) files.settle(id, outcome);
  for (const one of posted) if (one.kind === 'notice') program.notice(one.notice);
  assert.deepEqual([program.knownNodes, program.openFiles], [1, 0]);
});

const NEVER = new AbortController().signal;

test('after a close each request fails at once', async () => {
  const { provider, waiting, signals } = slow();
  const { files } = join(provider, { concurrency: 1 });
  const place = { parent: 1, name: nameOf('a') };
  const results = [files.lookup(CALLER, place), files.lookup(CALLER, place)];
  files.close();
  for (const result of [...results, files.getattr(1), files.statfs(), files.unlink(CALLER, place)])
    assert.equal(await result, ENOTCONN);
  assert.equal(signals[0]?.aborted, true);
  for (const finish of waiting) finish();
});

test('writes that the program does not complete take bounded memory', async () => {
  const { files } = join({ ...slow().provider, write: () => new Promise<void>(() => undefined) });
  const length = 2 ** 20;
  const { block, parts } = buffers(length);
  const range = { node: 1, handle: 1, offset: 0, length, isFromCache: false, killsPrivileges: false };
  const results = Array.from({ length: 257 }, () => files.write(CALLER, range, parts));
  assert.equal(await results[256], -ENOMEM);
  files.close();
  assert.equal(await results[255], -ENOTCONN);
  block.free();
  parts.free();
});
