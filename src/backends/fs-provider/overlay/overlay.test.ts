import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { TestClient } from '../test-client.ts';
import { overlay } from './overlay.ts';

const base = mkdtempSync(join(tmpdir(), 'overlay-'));
after(() => rmSync(base, { recursive: true }));

let count = 0;

interface Bench {
  readonly lower: string;
  readonly upper: string;
  readonly guest: TestClient;
  /** Opens the same layers again. */
  readonly again: (act: (guest: TestClient) => Promise<void>) => Promise<void>;
}

/** Calls `act` with an overlay on a lower directory; fails where the lower directory has changed. */
async function onLayers(act: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = join(base, `a, "b" ${count++}`);
  const [lower, upper] = [join(folder, 'lower'), join(folder, 'upper')];
  mkdirSync(join(lower, 'd/deep'), { recursive: true });
  mkdirSync(join(lower, 'other'));
  mkdirSync(upper);
  writeFileSync(join(lower, 'a'), 'lower a');
  writeFileSync(join(lower, 'd/b'), 'lower b', { mode: 0o640 });
  writeFileSync(join(lower, 'd/deep/c'), 'lower c');
  linkSync(join(lower, 'a'), join(lower, 'hard'));
  symlinkSync('/etc/passwd', join(lower, 'escape'));
  symlinkSync('d', join(lower, 'to-d'));
  // whatever the umask
  for (const [path, mode] of [
    ['d', 0o755],
    ['a', 0o644],
    ['d/b', 0o640],
  ] as const)
    chmodSync(join(lower, path), mode);
  const before = listing(lower);
  {
    await using files = await overlay({ lower, upper });
    const guest = new TestClient(files);
    const again: Bench['again'] = async (next) => {
      guest.files.notice({ name: 'reset' });
      await files[Symbol.asyncDispose]();
      await using reopened = await overlay({ lower, upper });
      await next(new TestClient(reopened));
    };
    await act({ lower, upper, guest, again });
    assert.deepEqual(guest.faults, []);
  }
  assert.equal(listing(lower), before);
  assert.equal(existsSync(join(upper, '.nephos-work')), false);
}

/** Returns names, attributes and checksums of a tree. */
function listing(path: string): string {
  const shell =
    'cd "$1"; find . -printf "%p %y %m %U %G %n %s %T@ %l\\n" | sort; find . -type f -exec sha256sum {} + | sort';
  return execFileSync('sh', ['-c', shell, 'sh', path], { encoding: 'utf8' });
}

test('both layers are one directory', async () => {
  await onLayers(async ({ upper, guest }) => {
    mkdirSync(join(upper, 'd'));
    writeFileSync(join(upper, 'd/new'), 'upper');
    writeFileSync(join(upper, 'a'), 'upper a');
    assert.deepEqual(await guest.names(''), ['a', 'd', 'escape', 'hard', 'other', 'to-d']);
    assert.deepEqual(await guest.names('d'), ['b', 'deep', 'new']);
    assert.equal(String(await guest.read('a')), 'upper a');
    assert.equal(String(await guest.read('d/b')), 'lower b');
    assert.equal(await guest.readlink('escape'), '/etc/passwd');
    assert.equal((await guest.stat('d/b')).mode, 0o100_640);
    await assert.rejects(guest.node('none'), /^Error: ENOENT$/);
    await assert.rejects(guest.node('.nephos-work'), /^Error: ENOENT$/);
  });
});

test('the first write copies a file, and its inode number stays', async () => {
  await onLayers(async ({ upper, guest, again }) => {
    const before = await guest.stat('d/deep/c');
    const reader = await guest.open('d/deep/c', 0);
    const writer = await guest.open('d/deep/c', 2);
    await guest.call('write', { node: await guest.node('d/deep/c'), offset: 6, data: Buffer.from('C!') });
    // a file that was opened before has the new content too
    assert.equal(
      String(Buffer.from(await guest.call('read', { handle: reader, offset: 0, length: 99 }))),
      'lower C!',
    );
    guest.release(reader);
    guest.release(writer);
    assert.equal(readFileSync(join(upper, 'd/deep/c'), 'utf8'), 'lower C!');
    assert.deepEqual(readdirSync(join(upper, 'd')), ['deep']);
    assert.equal((await guest.stat('d/deep/c')).inode, before.inode);
    guest.files.notice({ name: 'forget', node: await guest.node('d/deep/c'), count: 100 });
    assert.equal((await guest.stat('d/deep/c')).inode, before.inode);
    await again(async (next) => assert.equal(String(await next.read('d/deep/c')), 'lower C!'));
  });
});

test('attributes are changed in the copy', async () => {
  await onLayers(async ({ lower, upper, guest }) => {
    const time = { seconds: 1_600_000_000, nanoseconds: 123_456_789 };
    const changed = await guest.call('setattr', {
      node: await guest.node('d/b'),
      change: { mode: 0o604, modified: time, size: 3 },
    });
    assert.deepEqual([changed.mode, changed.modified, changed.size], [0o100_604, time, 3]);
    await guest.call('setattr', { node: await guest.node('d'), change: { mode: 0o711 } });
    assert.equal(lstatSync(join(upper, 'd')).mode & 0o777, 0o711);
    assert.equal(lstatSync(join(lower, 'd')).mode & 0o777, 0o755);
    assert.equal(readFileSync(join(upper, 'd/b'), 'utf8'), 'low');
  });
});

test('removed entries stay removed, and directories can be made in their place', async () => {
  await onLayers(async ({ upper, guest, again }) => {
    await guest.unlink('a');
    await assert.rejects(guest.rmdir('d'), /^Error: ENOTEMPTY$/);
    for (const path of ['d/deep/c', 'd/b']) await guest.unlink(path);
    await guest.rmdir('d/deep');
    await guest.rmdir('d');
    assert.deepEqual(await guest.names(''), ['escape', 'hard', 'other', 'to-d']);
    await guest.mkdir('d');
    assert.deepEqual(await guest.names('d'), []);
    await guest.write('a', 'new a');
    await guest.write('d/b', 'new b');
    await again(async (next) => {
      assert.deepEqual(await next.names('d'), ['b']);
      assert.equal(String(await next.read('a')), 'new a');
      await next.unlink('d/b');
      await next.rmdir('d');
      await assert.rejects(next.node('d'), /^Error: ENOENT$/);
    });
    assert.ok(lstatSync(join(upper, 'd')).isCharacterDevice() || lstatSync(join(upper, 'd')).size === 0);
  });
});

test('renames of files, and of directories of the upper layer', async () => {
  await onLayers(async ({ guest, again }) => {
    const { inode } = await guest.stat('a');
    await guest.rename('a', 'd/b');
    assert.deepEqual([String(await guest.read('d/b')), (await guest.stat('d/b')).inode], ['lower a', inode]);
    await assert.rejects(guest.rename('d', 'moved'), /^Error: EXDEV$/);
    await guest.mkdir('made');
    await guest.write('made/x', 'x');
    const node = await guest.node('made/x');
    await guest.rename('made', 'd/made');
    assert.equal(await guest.node('d/made/x'), node);
    assert.equal(String(await guest.read('d/made/x')), 'x');
    // in the place of an empty directory of the lower layer
    await guest.rename('d/made', 'other');
    await guest.rename('d/deep/c', 'other/c');
    await assert.rejects(guest.rename('other', 'd'), /^Error: ENOTEMPTY$/);
    await assert.rejects(guest.rename('hard', 'd'), /^Error: EISDIR$/);
    await again(async (next) => {
      assert.deepEqual(await next.names(''), ['d', 'escape', 'hard', 'other', 'to-d']);
      assert.deepEqual(await next.names('other'), ['c', 'x']);
      assert.deepEqual(await next.names('d'), ['b', 'deep']);
      assert.deepEqual(await next.names('d/deep'), []);
    });
  });
});

test('links, symbolic links and special files', async () => {
  await onLayers(async ({ guest, again }) => {
    await guest.link('d/b', 'second');
    assert.equal(await guest.node('d/b'), await guest.node('second'));
    assert.equal((await guest.stat('second')).links, 2);
    await guest.unlink('d/b');
    await guest.write('second', 'through the other name');
    await guest.symlink('second', 'link');
    const place = await guest.place('pipe');
    await guest.call('mknod', { ...place, mode: 0o010_600, device: 0 });
    const whiteout = guest.call('mknod', { ...(await guest.place('w')), mode: 0o020_600, device: 0 });
    await assert.rejects(whiteout, /^Error: EPERM$/);
    await again(async (next) => {
      assert.equal(String(await next.read('second')), 'through the other name');
      assert.equal(await next.readlink('link'), 'second');
      assert.equal((await next.stat('pipe')).mode, 0o010_600);
      await assert.rejects(next.node('d/b'), /^Error: ENOENT$/);
    });
  });
});

test('a removed file exists while it is open', async () => {
  await onLayers(async ({ guest }) => {
    const node = await guest.node('a');
    const { handle } = await guest.call('open', { node, flags: 2 });
    await guest.unlink('a');
    await guest.call('write', { node, offset: 0, data: Buffer.from('LOWER') });
    assert.equal(String(Buffer.from(await guest.call('read', { handle, offset: 0, length: 99 }))), 'LOWER a');
    const { size, mode } = await guest.call('setattr', { node, change: { size: 2, mode: 0o600 } });
    assert.deepEqual([size, mode], [2, 0o100_600]);
    guest.release(handle);
    await assert.rejects(guest.node('a'), /^Error: ENOENT$/);
  });
});

test('concurrent changes of one file make one copy', async () => {
  await onLayers(async ({ upper, guest }) => {
    const node = await guest.node('a');
    const opened = await Promise.all([1, 2, 3, 4].map(() => guest.call('open', { node, flags: 2 })));
    await Promise.all(
      opened.map((_, i) => guest.call('write', { node, offset: i, data: Buffer.from(String(i)) })),
    );
    for (const { handle } of opened) guest.release(handle);
    assert.equal(readFileSync(join(upper, 'a'), 'utf8'), '0123r a');
  });
});

test('symbolic links on the host are never followed', async () => {
  await onLayers(async ({ upper, guest }) => {
    const outside = join(base, `outside ${count++}`);
    mkdirSync(outside);
    writeFileSync(join(outside, 'secret'), 'secret');
    chmodSync(join(outside, 'secret'), 0o644);
    const known = await guest.node('d');
    symlinkSync(outside, join(upper, 'd'));
    symlinkSync(join(outside, 'secret'), join(upper, 'other'));
    const name = Buffer.from('secret');
    await assert.rejects(guest.call('lookup', { parent: await guest.node('d'), name }), /^Error: ENOTDIR$/);
    await assert.rejects(guest.call('create', { parent: known, name, mode: 0o100_644, flags: 2 }));
    await assert.rejects(guest.open('other', 0), /^Error: EINVAL$/);
    for (const path of ['d', 'other', 'escape', 'to-d']) {
      const node = await guest.node(path);
      await guest.call('setattr', { node, change: { modified: 'now' } }).catch(() => undefined);
      await guest.call('setattr', { node, change: { mode: 0o777 } }).catch(() => undefined);
    }
    await guest.unlink('other');
    assert.deepEqual(readdirSync(outside), ['secret']);
    assert.equal(lstatSync(join(outside, 'secret')).mode & 0o777, 0o644);
    assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret');
  });
});

test('names that are not UTF-8, or long, or look like others', async () => {
  await onLayers(async ({ upper, guest, again }) => {
    const bytes = Buffer.from([0x61, 0xff]);
    writeFileSync(Buffer.concat([Buffer.from(`${upper}/`), bytes]), 'bytes');
    const found = await guest.call('lookup', { parent: 1, name: bytes });
    assert.equal(found.attributes.size, 5);
    const listed = (await guest.list('')).map(({ name }) => Buffer.from(name).toString('latin1'));
    assert.ok(listed.includes('a\u{ff}'));
    const hidden = guest.call('create', {
      ...(await guest.place('.nephos-work')),
      mode: 0o100_644,
      flags: 2,
    });
    await assert.rejects(hidden, /^Error: EPERM$/);
    await assert.rejects(guest.rename('a', '.nephos-work'), /^Error: EPERM$/);
    for (const name of ['n'.repeat(255), '-rf', '$(id)', 'a\nb', '.wh.a', '...'])
      await guest.write(name, name);
    const to = { parent: 1, name: Buffer.from([0xfe]) };
    await guest.call('rename', { from: { parent: 1, name: bytes }, to, flags: 0 });
    await again(async (next) => {
      assert.equal((await next.call('lookup', to)).attributes.size, 5);
      assert.equal(String(await next.read('.wh.a')), '.wh.a');
      assert.equal((await next.list('')).length, 15);
    });
  });
});

test('whiteouts that are files, and opaque directories, are read', async (t) => {
  await onLayers(async ({ upper, guest }) => {
    mkdirSync(join(upper, 'd'));
    mkdirSync(join(upper, 'other'));
    writeFileSync(join(upper, 'd/b'), '');
    const set = (name: string, value: string, path: string) =>
      spawnSync('setfattr', ['-n', name, '-v', value, join(upper, path)]).status === 0;
    if (!set('user.overlay.opaque', 'x', 'd')) return t.skip('there is no program setfattr');
    set('user.overlay.whiteout', 'y', 'd/b');
    assert.deepEqual(await guest.names('d'), ['deep']);
    await assert.rejects(guest.node('d/b'), /^Error: ENOENT$/);
    await guest.write('d/b', 'new');
    assert.deepEqual(await guest.names('d'), ['b', 'deep']);
  });
});

test('the upper layer is one that overlayfs mounts', async (t) => {
  await onLayers(async ({ lower, upper, guest, again }) => {
    await guest.unlink('a');
    await guest.unlink('d/deep/c');
    await guest.rmdir('d/deep');
    await guest.mkdir('d/deep');
    await guest.write('d/deep/new', 'new');
    await again(() => Promise.resolve());
    const [work, at] = [join(base, `work ${count}`), join(base, `mounted ${count}`)];
    for (const path of [work, at]) mkdirSync(path);
    const quoted = (path: string): string => path.replaceAll(/([\\,:])/g, String.raw`\$1`);
    const options = `lowerdir=${quoted(lower)},upperdir=${quoted(upper)},workdir=${quoted(work)},userxattr`;
    if (spawnSync('mount', ['-t', 'overlay', 'overlay', '-o', options, at]).status !== 0)
      return t.skip('this user cannot mount overlayfs');
    try {
      assert.deepEqual(readdirSync(at).toSorted(), ['d', 'escape', 'hard', 'other', 'to-d']);
      assert.deepEqual(readdirSync(join(at, 'd')), ['b', 'deep']);
      assert.deepEqual(readdirSync(join(at, 'd/deep')), ['new']);
    } finally {
      execFileSync('umount', [at]);
    }
  });
});

test('layers that cannot be used are refused', async () => {
  const folder = join(base, 'refused');
  const [lower, upper] = [join(folder, 'lower'), join(folder, 'upper')];
  for (const path of [lower, upper, join(lower, 'inside')]) mkdirSync(path, { recursive: true });
  await assert.rejects(overlay({ lower, upper: lower }), /must be neither in .*lower nor contain it$/);
  await assert.rejects(overlay({ lower, upper: join(lower, 'inside') }), /must be neither in /);
  await assert.rejects(overlay({ lower: join(folder, 'none'), upper }), { code: 'ENOENT' });
  writeFileSync(join(folder, 'file'), '');
  await assert.rejects(overlay({ lower, upper: join(folder, 'file') }), { code: 'ENOTDIR' });
  {
    await using first = await overlay({ lower, upper });
    await assert.rejects(overlay({ lower, upper }), /upper: is in use by another overlay$/);
    assert.ok(first.root.isUpper);
  }
  chmodSync(upper, 0o700);
  await using second = await overlay({ lower, upper });
  assert.ok(second.root.isLower);
});

test('a FIFO that takes the place of a file on the host is not opened', async () => {
  await onLayers(async ({ upper, guest }) => {
    await guest.write('new', 'text');
    const node = await guest.node('new');
    rmSync(join(upper, 'new'));
    execFileSync('mkfifo', [join(upper, 'new')]);
    for (const flags of [0, 2]) await assert.rejects(guest.call('open', { node, flags }), /^Error: ESTALE$/);
  });
});
