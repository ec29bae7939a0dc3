import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openBootFile } from './boot-file.ts';
import { prepareInitramfs } from './initramfs.ts';
import { openUnpacked } from './open-unpacked.ts';

const MIB = 2 ** 20;
const NOBODY = 65_534;
const root = mkdtempSync(join(tmpdir(), 'nephos-cache-'));
after(() => rmSync(root, { recursive: true }));

let made = 0;

/** A folder of a test's own with a packed file, and a cache that is not there yet. */
function place(): { packed: string; cache: string; folder: string } {
  made += 1;
  const folder = join(root, String(made));
  mkdirSync(folder, { mode: 0o700 });
  const packed = join(folder, 'packed, "x" ü');
  writeFileSync(packed, `packed ${made}`);
  return { packed, cache: join(folder, 'nephos', 'boot'), folder };
}

interface Taken {
  readonly content: string | undefined;
  readonly path: string | undefined;
  /** number of times that the file was unpacked */
  readonly calls: number;
}

/** Asks for the unpacked form, which is `UNPACKED` and the packed file's text. */
async function take(packed: string, cache: string, limit = MIB): Promise<Taken> {
  const opened = await openBootFile(packed);
  let calls = 0;
  try {
    const unpack = async function* (): AsyncGenerator<Buffer> {
      calls += 1;
      yield Buffer.from('UNPACKED ');
      yield readFileSync(packed);
    };
    const found = await openUnpacked(
      opened,
      { purpose: 'kernel', limit, unpack, isUsable: async () => true },
      cache,
    );
    if (found === undefined) return { content: undefined, path: undefined, calls };
    await using file = found;
    return { content: readFileSync(`/proc/self/fd/${file.fd}`, 'utf8'), path: file.path, calls };
  } finally {
    await opened.file.close();
  }
}

function contentOf(packed: string): string {
  return `UNPACKED ${readFileSync(packed, 'utf8')}`;
}

function entryIn(cache: string): string {
  const name = readdirSync(cache).find((one) => /^kernel-[0-9a-f]{64}-/.test(one));
  assert.ok(name !== undefined, 'there is no entry');
  return join(cache, name);
}

function indexIn(cache: string): string {
  const name = readdirSync(cache).find((one) => one.startsWith('kernel-of-'));
  assert.ok(name !== undefined, 'there is no index');
  return join(cache, name);
}

test('a file is unpacked once, into a private folder, under the digests of both forms', async () => {
  const { packed, cache } = place();
  const first = await take(packed, cache);
  assert.deepEqual({ content: first.content, calls: first.calls }, { content: contentOf(packed), calls: 1 });
  const second = await take(packed, cache);
  assert.deepEqual({ ...second, calls: 0 }, { ...first, calls: 0 });
  assert.equal(second.calls, 0);
  assert.equal(statSync(cache).mode & 0o777, 0o700);
  assert.equal(statSync(entryIn(cache)).mode & 0o777, 0o600);
  const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
  assert.ok(
    first.path?.endsWith(`kernel-${digest(readFileSync(packed, 'utf8'))}-${digest(contentOf(packed))}`),
  );
  assert.deepEqual(
    readdirSync(cache).filter((name) => name.startsWith('half')),
    [],
  );
});

test('a changed file is unpacked again, and a copy is found by its content', async () => {
  const { packed, cache, folder } = place();
  await take(packed, cache);
  writeFileSync(packed, 'something else');
  assert.equal((await take(packed, cache)).content, 'UNPACKED something else');
  const copy = join(folder, 'copy');
  writeFileSync(copy, 'something else');
  const { content, calls } = await take(copy, cache);
  assert.deepEqual({ content, calls }, { content: 'UNPACKED something else', calls: 0 });
});

test('a changed entry is never used: it is replaced', async () => {
  const attacker = join(root, 'attacker');
  writeFileSync(attacker, 'EVIL');
  const changes: Readonly<Record<string, (entry: string) => void>> = {
    truncated: (entry) => truncateSync(entry, 5),
    emptied: (entry) => truncateSync(entry, 0),
    'changed, with its size and times': (entry) => {
      const { atime, mtime, size } = statSync(entry);
      writeFileSync(entry, 'E'.repeat(size));
      utimesSync(entry, atime, mtime);
    },
    'replaced by another file': (entry) => {
      writeFileSync(`${entry}.new`, 'EVIL');
      renameSync(`${entry}.new`, entry);
    },
    'a link to a file': (entry) => {
      rmSync(entry);
      symlinkSync(attacker, entry);
    },
    'a dangling link': (entry) => {
      rmSync(entry);
      symlinkSync(join(root, 'must not be made'), entry);
    },
    'a FIFO': (entry) => {
      rmSync(entry);
      execFileSync('mkfifo', [entry]);
    },
    'a folder': (entry) => {
      rmSync(entry);
      mkdirSync(join(entry, 'deep'), { recursive: true });
    },
    removed: (entry) => rmSync(entry),
  };
  for (const [what, change] of Object.entries(changes)) {
    const { packed, cache } = place();
    await take(packed, cache);
    change(entryIn(cache));
    assert.equal((await take(packed, cache)).content, contentOf(packed), what);
    assert.ok(lstatSync(entryIn(cache)).isFile(), what);
    assert.equal(readFileSync(entryIn(cache), 'utf8'), contentOf(packed), what);
    assert.equal((await take(packed, cache)).calls, 0, what);
  }
  assert.equal(readFileSync(attacker, 'utf8'), 'EVIL');
  assert.equal(existsSync(join(root, 'must not be made')), false);
});

test('an entry whose times alone changed is verified, not unpacked again', async () => {
  const { packed, cache } = place();
  await take(packed, cache);
  utimesSync(entryIn(cache), 1, 1);
  const { content, calls } = await take(packed, cache);
  assert.deepEqual({ content, calls }, { content: contentOf(packed), calls: 0 });
});

test('an index that is invalid, or names a path outside of the folder, is replaced', async () => {
  const outside = join(root, 'outside');
  writeFileSync(outside, 'EVIL');
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(outside, { bigint: true });
  const identity = [dev, ino, size, mtimeNs, ctimeNs].map((one) => one.toString(36)).join('-');
  for (const text of [
    '',
    'null',
    '{',
    '{"entry":1}',
    JSON.stringify({ entry: '../../outside', identity }),
    'x'.repeat(5000),
  ]) {
    const { packed, cache } = place();
    await take(packed, cache);
    writeFileSync(indexIn(cache), text);
    assert.equal((await take(packed, cache)).content, contentOf(packed), text.slice(0, 50));
    assert.equal((await take(packed, cache)).calls, 0);
  }
  const { packed, cache } = place();
  await take(packed, cache);
  const index = indexIn(cache);
  renameSync(index, `${index}.moved`);
  symlinkSync(outside, index);
  assert.equal((await take(packed, cache)).content, contentOf(packed));
  assert.equal(readFileSync(outside, 'utf8'), 'EVIL');
  assert.ok(lstatSync(index).isFile());
});

test('a cache folder that is not private is unused: the kernel is unpacked into memory', async () => {
  assert.equal(process.geteuid?.(), 0, 'needs root: files of another user are made');
  type Spoil = (at: { cache: string; folder: string }) => void;
  const evil = (cache: string): void => {
    mkdirSync(cache, { recursive: true, mode: 0o700 });
    chmodSync(cache, 0o700);
  };
  const spoils: Readonly<Record<string, Spoil>> = {
    'of another user': ({ cache }) => {
      evil(cache);
      chownSync(cache, NOBODY, NOBODY);
    },
    'open to others': ({ cache }) => {
      evil(cache);
      chmodSync(cache, 0o755);
    },
    'a link': ({ cache, folder }) => {
      mkdirSync(join(folder, 'nephos'));
      mkdirSync(join(folder, 'target'), { mode: 0o700 });
      symlinkSync(join(folder, 'target'), cache);
    },
    'a file': ({ cache, folder }) => {
      mkdirSync(join(folder, 'nephos'));
      writeFileSync(cache, '');
    },
    'below a folder of another user': ({ cache, folder }) => {
      evil(cache);
      chownSync(join(folder, 'nephos'), NOBODY, NOBODY);
    },
    'below a folder that others can write': ({ cache, folder }) => {
      evil(cache);
      chmodSync(join(folder, 'nephos'), 0o777);
    },
    'below a link of another user': ({ folder }) => {
      mkdirSync(join(folder, 'target'), { mode: 0o700 });
      symlinkSync(join(folder, 'target'), join(folder, 'nephos'));
      execFileSync('chown', ['-h', String(NOBODY), join(folder, 'nephos')]);
    },
  };
  for (const [what, spoil] of Object.entries(spoils)) {
    const at = place();
    spoil(at);
    const before = execFileSync('find', [at.folder, '-ls']).toString();
    const { content, path, calls } = await take(at.packed, at.cache);
    assert.deepEqual({ content, calls }, { content: contentOf(at.packed), calls: 1 }, what);
    assert.match(path ?? '', /^memfd:/, what);
    assert.equal(execFileSync('find', [at.folder, '-ls']).toString(), before, what);
  }
});

test('a folder below /tmp, or a link of the own user, is used', async () => {
  const { packed, folder } = place();
  const shared = join(folder, 'shared');
  mkdirSync(shared);
  chmodSync(shared, 0o1777);
  assert.match((await take(packed, join(shared, '.cache', 'nephos', 'boot'))).path ?? '', /^\/.*\/kernel-/);
  symlinkSync(shared, join(folder, 'link'));
  assert.equal((await take(packed, join(folder, 'link', '.cache', 'nephos', 'boot'))).calls, 0);
});

test('a folder that cannot be made causes no error and no wait', async () => {
  const { packed, folder } = place();
  const file = join(folder, 'file');
  writeFileSync(file, '');
  for (const cache of [
    '/proc/.cache/nephos/boot',
    '/sys/nephos/boot',
    '/dev/null/boot',
    join(file, 'boot'),
  ]) {
    const { content, path } = await take(packed, cache);
    assert.equal(content, contentOf(packed), cache);
    assert.match(path ?? '', /^memfd:/);
  }
});

test('unpacking stops at the limit, leaves nothing, and is not tried again below it', async () => {
  const { packed, cache } = place();
  assert.deepEqual(await take(packed, cache, 5), { content: undefined, path: undefined, calls: 1 });
  assert.deepEqual(
    readdirSync(cache).filter((name) => !name.startsWith('kernel-of-')),
    [],
  );
  assert.equal((await take(packed, cache, 4)).calls, 0);
  assert.equal((await take(packed, cache, 100)).content, contentOf(packed));
  // a VM with a lower limit does not use a file that was unpacked for one with a higher limit
  assert.deepEqual(await take(packed, cache, 5), { content: undefined, path: undefined, calls: 0 });
  assert.equal((await take(packed, cache, 100)).calls, 0);
});

test('a decompression bomb takes neither memory nor disk: it is used packed', async () => {
  const { cache, folder } = place();
  const bomb = join(folder, 'bomb');
  for (const tool of ['gzip -1', 'zstd -1', 'xz -0']) {
    execFileSync('sh', ['-c', `head -c 400M /dev/zero | ${tool} > "$0"`, bomb]);
    const before = process.memoryUsage.rss();
    await using file = await prepareInitramfs(bomb, { memory: 512 * MIB, folder: cache });
    assert.equal(file.path, bomb, tool);
    assert.ok(process.memoryUsage.rss() - before < 200 * MIB, `${tool}: memory grew`);
    assert.ok(Number(execFileSync('du', ['-sm', cache]).toString().split('\t')[0]) < 2, tool);
  }
});

test('an archive is unpacked where all of it is one packed file, or several of gzip', async () => {
  const { cache, folder } = place();
  const text = Buffer.alloc(3 * MIB, 'some content of an archive ');
  const path = join(folder, 'archive');
  const zeros = Buffer.alloc(1000);
  const forms: readonly (readonly [string, Buffer, Buffer | undefined])[] = [
    ['one', gzipSync(text), text],
    ['with padding', Buffer.concat([gzipSync(text), zeros]), text],
    ['two', Buffer.concat([gzipSync(text), gzipSync(text)]), Buffer.concat([text, text])],
    ['another kind behind it', Buffer.concat([gzipSync(text), Buffer.from('070701')]), undefined],
    ['another behind padding', Buffer.concat([gzipSync(text), zeros, gzipSync(text)]), undefined],
    ['cut off', gzipSync(text).subarray(0, 1000), undefined],
    ['damaged', Buffer.concat([gzipSync(text).subarray(0, 100), zeros]), undefined],
    ['not packed', text, undefined],
  ];
  for (const [what, bytes, unpacked] of forms) {
    writeFileSync(path, bytes);
    await using file = await prepareInitramfs(path, { memory: 512 * MIB, folder: cache });
    assert.equal(file.path === path, unpacked === undefined, what);
    assert.ok(readFileSync(`/proc/self/fd/${file.fd}`).equals(unpacked ?? bytes), what);
  }
});

test('the cache is kept within its bound, without the entry that was just made', async () => {
  const { packed, cache } = place();
  await take(packed, cache);
  // sparse files stand for large entries: only their size counts
  const large = (name: string): string => {
    const entry = `kernel-${createHash('sha256').update(name).digest('hex')}-${'0'.repeat(64)}`;
    closeSync(openSync(join(cache, entry), 'w'));
    truncateSync(join(cache, entry), 600 * MIB);
    writeFileSync(join(cache, `kernel-of-${name}`), JSON.stringify({ entry, identity: '' }));
    return entry;
  };
  const [older, newer] = [large('older'), large('newer')];
  utimesSync(join(cache, 'kernel-of-older'), 1000, 1000);
  utimesSync(join(cache, 'kernel-of-newer'), 2000, 2000);
  for (const [name, isOld] of [
    ['half-1', true],
    ['half-2', false],
    ['of-old-form', true],
  ] as const) {
    writeFileSync(join(cache, name), '');
    if (isOld) utimesSync(join(cache, name), 1000, 1000);
  }
  writeFileSync(packed, 'another');
  await take(packed, cache);
  const names = readdirSync(cache);
  assert.deepEqual(
    [older, newer, 'half-1', 'half-2', 'of-old-form'].map((name) => names.includes(name)),
    [false, true, false, true, false],
  );
  assert.equal((await take(packed, cache)).calls, 0);
});

test('an entry that is removed while it is in use keeps its bytes', async () => {
  const { packed, cache } = place();
  const opened = await openBootFile(packed);
  const unpack = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from('bytes');
  };
  const found = await openUnpacked(
    opened,
    { purpose: 'kernel', limit: 5, unpack, isUsable: async () => true },
    cache,
  );
  await opened.file.close();
  assert.ok(found !== undefined);
  await using file = found;
  rmSync(entryIn(cache));
  assert.equal(readFileSync(`/proc/self/fd/${file.fd}`, 'utf8'), 'bytes');
});
