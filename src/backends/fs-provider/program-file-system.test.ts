import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FsError } from './errors.ts';
import { memoryTree } from './memory-tree.ts';
import type { FsProvider } from './provider.ts';
import { TestClient } from './test-client.ts';

interface Text {
  readonly text: string;
}

const files = new Map([['hello.txt', { text: 'Hello\n' }]]);

/** The example of provider.ts. */
const HELLO: FsProvider<typeof files, Text> = {
  root: files,
  lookup: (directory, name) => (typeof name === 'string' ? directory.get(name) : undefined),
  getattr: (node) =>
    'text' in node ? { type: 'file', size: Buffer.byteLength(node.text) } : { type: 'directory' },
  readdir: (directory) => Array.from(directory, ([name, node]) => ({ name, node })),
  read: (file, { offset, length }) => Buffer.from(file.text).subarray(offset, offset + length),
};

test('the example of the interface, which is read-only', async () => {
  const guest = new TestClient(HELLO);
  assert.deepEqual(await guest.names(''), ['hello.txt']);
  assert.equal(String(await guest.read('hello.txt')), 'Hello\n');
  const { mode, size, uid, links, blocks } = await guest.stat('hello.txt');
  assert.deepEqual(
    { mode, size, uid, links, blocks },
    { mode: 0o100_644, size: 6, uid: 0, links: 1, blocks: 1 },
  );
  for (const change of [
    () => guest.create('new'),
    () => guest.mkdir('new'),
    () => guest.unlink('hello.txt'),
    () => guest.rename('hello.txt', 'new'),
    () => guest.symlink('x', 'new'),
    () => guest.link('hello.txt', 'new'),
    () => guest.open('hello.txt', 2),
    async () => guest.call('setattr', { node: await guest.node('hello.txt'), change: { mode: 0 } }),
  ])
    await assert.rejects(change(), /^Error: EROFS$/);
  assert.deepEqual(guest.faults, []);
});

test('a method that the provider of a writable file system lacks is not permitted', async () => {
  const guest = new TestClient({ ...HELLO, write: () => undefined });
  await guest.open('hello.txt', 2);
  await assert.rejects(guest.create('new'), /^Error: EPERM$/);
  await assert.rejects(guest.open('hello.txt', 0o1002), /^Error: EPERM$/);
});

test('errors with a code reach the guest; any other error is EIO and a fault', async () => {
  const fail = (error: unknown) =>
    new TestClient({
      ...HELLO,
      read: () => {
        throw error;
      },
    });
  const cases: readonly [unknown, string, number][] = [
    [new FsError('ENOSPC'), 'ENOSPC', 0],
    [Object.assign(new Error('x'), { code: 'EACCES' }), 'EACCES', 0],
    [Object.assign(new Error('x'), { code: 'ERR_INVALID_ARG_TYPE' }), 'EIO', 1],
    [new TypeError('x'), 'EIO', 1],
    ['text', 'EIO', 1],
    [undefined, 'EIO', 1],
  ];
  for (const [error, code, faults] of cases) {
    const guest = fail(error);
    await assert.rejects(guest.read('hello.txt'), new RegExp(`^Error: ${code}$`));
    assert.equal(guest.faults.length, faults, code);
  }
});

test('invalid results of a provider are EIO and a fault', async () => {
  const invalid: readonly Partial<FsProvider>[] = [
    { getattr: () => ({ type: 'file', size: -1 }) },
    { getattr: () => ({ type: 'file', size: 0.5 }) },
    { getattr: () => JSON.parse('{"type":"pipe"}') },
    { getattr: () => JSON.parse('{"type":"file","inode":5}') },
    { getattr: () => JSON.parse('{}') },
    { getattr: () => JSON.parse('null') },
    { read: () => JSON.parse('"text"') },
  ];
  for (const members of invalid) {
    const guest = new TestClient({ ...(HELLO as FsProvider), ...members });
    await assert.rejects(guest.read('hello.txt'), /^Error: EIO$/, JSON.stringify(members));
    assert.equal(guest.faults.length, 1);
  }
  for (const name of ['', '.', '..', 'a/b', 'a\0b', 'n'.repeat(256)]) {
    const guest = new TestClient({ ...HELLO, readdir: () => [{ name }] });
    await assert.rejects(guest.names(''), /^Error: EIO$/, name);
    assert.equal(guest.faults.length, 1);
  }
});

test('more bytes than requested are cut off', async () => {
  const guest = new TestClient({ ...HELLO, read: () => Buffer.alloc(100_000) });
  const handle = await guest.open('hello.txt', 0);
  assert.equal((await guest.call('read', { handle, offset: 0, length: 10 })).length, 10);
});

test('a file without a size bypasses the cache of the guest', async () => {
  const guest = new TestClient({
    ...HELLO,
    getattr: (node) => ({ type: node === files ? 'directory' : 'file' }),
  });
  const { isDirect } = await guest.call('open', { node: await guest.node('hello.txt'), flags: 0 });
  assert.equal(isDirect, true);
});

test('numbers that the guest does not have are refused', async () => {
  const guest = new TestClient(memoryTree({ 'a/b': 'x' }));
  const name = Buffer.from('b');
  await assert.rejects(guest.call('lookup', { parent: 99, name }), /^Error: ESTALE$/);
  await assert.rejects(guest.call('getattr', 99), /^Error: ESTALE$/);
  await assert.rejects(guest.call('read', { handle: 1, offset: 0, length: 1 }), /^Error: EBADF$/);
  await assert.rejects(guest.call('opendir', await guest.node('a/b')), /^Error: ENOTDIR$/);
  await assert.rejects(guest.call('open', { node: 1, flags: 0 }), /^Error: EISDIR$/);
  await assert.rejects(guest.call('readlink', await guest.node('a/b')), /^Error: EINVAL$/);
  await assert.rejects(guest.call('link', { node: 1, to: { parent: 1, name } }), /^Error: EPERM$/);
  const { handle } = await guest.call('opendir', 1);
  await assert.rejects(guest.call('read', { handle, offset: 0, length: 1 }), /^Error: EBADF$/);
  const file = await guest.open('a/b', 0);
  const readdir = { handle: file, offset: 0, count: 10, plus: false };
  await assert.rejects(guest.call('readdir', readdir), /^Error: EBADF$/);
  guest.files.notice({ name: 'release', handle: 99 });
  guest.files.notice({ name: 'forget', node: 99, count: 1 });
  guest.files.notice({ name: 'forget', node: 1, count: 1000 });
  assert.equal(String(await guest.read('a/b')), 'x');
});

test('nodes are known until the guest forgets and closes them', async () => {
  const forgotten: unknown[] = [];
  const closed: unknown[] = [];
  const tree = memoryTree({ a: 'x' });
  const provider: FsProvider = {
    root: tree.root,
    lookup: (_, name) => tree.lookup(tree.root, name, NO_CONTEXT),
    getattr: () => ({ type: 'file', size: 1 }),
    readdir: () => [],
    read: () => Buffer.from('x'),
    forget: (node) => void forgotten.push(node),
    close: (node) => void closed.push(node),
  };
  const guest = new TestClient(provider);
  const node = await guest.node('a');
  await guest.node('a');
  const { handle } = await guest.call('open', { node, flags: 0 });
  guest.files.notice({ name: 'forget', node, count: 2 });
  assert.equal(guest.files.knownNodes, 2);
  guest.release(handle);
  await settled();
  assert.equal(guest.files.knownNodes, 1);
  const file = tree.root.entries.get('a');
  assert.deepEqual([forgotten, closed], [[file], [file]]);
  assert.notEqual(await guest.node('a'), node);
});

const NO_CONTEXT = { signal: new AbortController().signal, uid: 0, gid: 0, pid: 0 };

function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

test('a reset closes everything, and inode numbers survive it', async () => {
  let closed = 0;
  const guest = new TestClient({ ...HELLO, close: () => void closed++ });
  const before = await guest.stat('hello.txt');
  await guest.open('hello.txt', 0);
  await guest.call('opendir', 1);
  guest.files.notice({ name: 'reset' });
  await settled();
  assert.deepEqual([guest.files.knownNodes, guest.files.openFiles, closed], [1, 0, 1]);
  assert.equal((await guest.stat('hello.txt')).inode, before.inode);
});

test('nodes may be texts; their inode numbers differ and last', async () => {
  const byPath = (): FsProvider<string> => ({
    root: '',
    lookup: (directory, name) => `${directory}/${String(name)}`,
    getattr: (path) => ({ type: path.endsWith('f') ? 'file' : 'directory', size: path.length }),
    readdir: () => [{ name: 'f' }],
    read: (path) => Buffer.from(path),
  });
  const guest = new TestClient(byPath());
  assert.equal(await guest.node('d/f'), await guest.node('d/f'));
  const inodes = await Promise.all(['d/f', 'd', 'e', ''].map(async (path) => (await guest.stat(path)).inode));
  assert.equal(new Set(inodes).size, 4);
  assert.equal((await new TestClient(byPath()).stat('d/f')).inode, inodes[0]);
});

test('a directory is read in parts, with its inodes or without them', async () => {
  const entries = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`f${i}`, '']));
  const guest = new TestClient(memoryTree(entries));
  for (const plus of [false, true]) {
    const listed = await guest.list('', { count: 7, plus });
    assert.deepEqual(
      listed.map(({ name }) => String(Buffer.from(name))),
      ['.', '..', ...Object.keys(entries)],
    );
    const found = listed.filter((one) => one.found !== undefined);
    assert.equal(found.length, plus ? 300 : 0);
    assert.equal(guest.files.knownNodes, plus ? 301 : 1);
    for (const one of found) assert.equal(one.found?.attributes.inode, one.inode);
  }
});

test('a directory that is read again from its start shows changes', async () => {
  const tree = memoryTree({ a: '' });
  const guest = new TestClient(tree);
  const { handle } = await guest.call('opendir', 1);
  const read = (offset: number) => guest.call('readdir', { handle, offset, count: 10, plus: false });
  assert.equal((await read(0)).length, 3);
  tree.writeFile('b', '');
  assert.equal((await read(2)).length, 1);
  assert.equal((await read(0)).length, 4);
});

test('entries may come from an asynchronous generator, without nodes', async () => {
  const guest = new TestClient({
    ...HELLO,
    readdir: async function* entries() {
      yield { name: 'hello.txt' };
      yield { name: 'gone', type: 'file' as const };
    },
  });
  const [, , hello, gone] = await guest.list('', { plus: true });
  assert.equal(hello?.type, 0o100_000);
  assert.ok(hello?.found !== undefined && gone !== undefined && gone.found === undefined);
});

test('a result that nothing waits for leaves no reference', async () => {
  let finish: () => void = () => undefined;
  const waits = (): Promise<void> => new Promise((resolve) => (finish = resolve));
  let closed = 0;
  const guest = new TestClient({
    ...HELLO,
    lookup: async (directory, name) => {
      await waits();
      return name === 'hello.txt' && directory === files ? files.get(name) : undefined;
    },
    open: waits,
    close: () => void closed++,
  });
  const aborted = new AbortController();
  const lookup = guest.call('lookup', { parent: 1, name: Buffer.from('hello.txt') }, aborted.signal);
  aborted.abort();
  finish();
  await assert.rejects(lookup, /^Error: EIO$/);
  assert.equal(guest.files.knownNodes, 1);
  const found = guest.node('hello.txt');
  finish();
  const open = guest.call('open', { node: await found, flags: 0 }, aborted.signal);
  finish();
  await assert.rejects(open, /^Error: EIO$/);
  assert.deepEqual([guest.files.openFiles, closed], [0, 1]);
});

test('an existing file is opened by a create without O_EXCL', async () => {
  const guest = new TestClient(memoryTree({ a: 'x' }));
  const place = { ...(await guest.place('a')), mode: 0o100_644 };
  const { handle } = await guest.call('create', { ...place, flags: 0o102 });
  assert.deepEqual([...(await guest.call('read', { handle, offset: 0, length: 9 }))], [0x78]);
  await assert.rejects(guest.call('create', { ...place, flags: 0o302 }), /^Error: EEXIST$/);
});
