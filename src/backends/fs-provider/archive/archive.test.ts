import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { TestClient } from '../test-client.ts';
import { archive, type ArchiveOptions } from './archive.ts';
import { parsePax, SPARSE_MEMBER } from './pax.ts';
import { paxEntry, tarOf, zipOf, type TarEntry } from './test-archives.ts';

const folder = mkdtempSync(join(tmpdir(), 'archive-'));
after(() => rmSync(folder, { recursive: true }));

let count = 0;

function file(bytes: Uint8Array): string {
  const path = join(folder, `a, "b" ${count++}`);
  writeFileSync(path, bytes);
  return path;
}

/** Opens an archive and calls `act` with a guest. */
async function mounted(
  path: string,
  act: (guest: TestClient) => Promise<void>,
  options: ArchiveOptions = {},
): Promise<void> {
  await using opened = await archive(path, options);
  const guest = new TestClient(opened);
  await act(guest);
  assert.deepEqual(guest.faults, []);
}

async function isRefused(bytes: Uint8Array, message: RegExp, options: ArchiveOptions = {}): Promise<void> {
  const path = file(bytes);
  await assert.rejects(archive(path, options), (error) => {
    assert.ok(error instanceof Error);
    assert.match(error.message, message);
    return true;
  });
}

/** Returns the temporary files of archives that this process has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => readlinkOf(`/proc/self/fd/${fd}`))
    .filter((target) => target.includes('nephos-archive-'));
}

function readlinkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

const LARGE = Buffer.alloc(700_000, 'a line of a file\n');

test('archives of tar in all of its formats, also gzipped', async () => {
  const source = join(folder, 'source');
  const long = `${'d'.repeat(120)}/${'f'.repeat(120)}`;
  mkdirSync(join(source, 'd'.repeat(120)), { recursive: true });
  mkdirSync(join(source, 'empty'));
  writeFileSync(join(source, 'small'), 'small\n', { mode: 0o640 });
  writeFileSync(join(source, 'large'), LARGE);
  writeFileSync(join(source, 'ä "b"'), '');
  symlinkSync('../outside', join(source, 'link'));
  chmodSync(join(source, 'small'), 0o640);
  for (const format of ['gnu', 'oldgnu', 'pax', 'ustar', 'v7']) {
    const hasLong = format !== 'ustar' && format !== 'v7';
    rmSync(join(source, long), { force: true });
    if (hasLong) writeFileSync(join(source, long), 'long\n');
    execFileSync('ln', ['-f', join(source, 'small'), join(source, 'second')]);
    const path = join(folder, `${format}.tar`);
    const entries = hasLong ? ['.'] : ['empty', 'second', 'small', 'large', 'ä "b"', 'link'];
    execFileSync('tar', ['--sort=name', `--format=${format}`, '-cf', path, '-C', source, ...entries]);
    const zipped = `${path}.gz`;
    execFileSync('sh', ['-c', 'gzip -c "$1" > "$2"', 'sh', path, zipped]);
    for (const one of [path, zipped])
      await mounted(one, async (guest) => {
        const names = ['empty', 'large', 'link', 'second', 'small', 'ä "b"'];
        assert.deepEqual(await guest.names(''), hasLong ? ['d'.repeat(120), ...names] : names, format);
        if (hasLong) assert.equal(String(await guest.read(long)), 'long\n');
        assert.equal(String(await guest.read('small', 4)), 'small\n');
        assert.ok((await guest.read('large', 65_536)).equals(LARGE), format);
        assert.equal(await guest.readlink('link'), '../outside');
        assert.equal(await guest.node('small'), await guest.node('second'));
        const { mode, links, size } = await guest.stat('small');
        assert.deepEqual({ mode, links, size }, { mode: 0o100_640, links: 2, size: 6 });
        await assert.rejects(guest.write('small', 'x'), /^Error: EROFS$/);
      });
  }
});

test('members of extended headers', async () => {
  const name = `${'n'.repeat(200)}/ü`;
  const bytes = tarOf(
    paxEntry({ gid: '77' }, 'g'),
    paxEntry({ path: name, mtime: '-1.25', uid: '3000000000' }),
    { name: 'short', content: 'x' },
    { name: 'next', content: 'y' },
  );
  await mounted(file(bytes), async (guest) => {
    const { uid, gid, modified } = await guest.stat(name);
    assert.deepEqual([uid, gid, modified], [3_000_000_000, 77, { seconds: -2, nanoseconds: 750_000_000 }]);
    const next = await guest.stat('next');
    assert.deepEqual([next.uid, next.gid, next.modified.seconds], [1000, 77, 1_700_000_000]);
  });
});

test('special files, prefixes, repeated and implied entries', async () => {
  const bytes = tarOf(
    { name: './', flag: '5', mode: 0o700 },
    { name: 'null', flag: '3', device: [1, 3] },
    { name: 'pipe', flag: '6' },
    { name: 'c', prefix: 'a/b', content: 'first' },
    { name: '/a//./b/c', content: 'second' },
    { name: 'old/', flag: '\0' },
    { name: 'label', flag: 'V' },
    { name: Uint8Array.of(0x66, 0xff), content: 'bytes' },
  );
  await mounted(file(bytes), async (guest) => {
    assert.equal((await guest.stat('')).mode, 0o040_700);
    const { mode, device } = await guest.stat('null');
    assert.deepEqual([mode, device], [0o020_644, 0x103]);
    assert.equal((await guest.stat('pipe')).mode, 0o010_644);
    assert.equal(String(await guest.read('a/b/c')), 'second');
    assert.equal((await guest.stat('a')).mode, 0o040_755);
    assert.equal((await guest.stat('old')).mode, 0o040_644);
    await assert.rejects(guest.node('label'), /ENOENT/);
    const name = Uint8Array.of(0x66, 0xff);
    assert.equal((await guest.call('lookup', { parent: 1, name })).attributes.size, 5);
  });
});

test('hostile tar files are refused, and nothing is left', async () => {
  const entry = (members: Partial<TarEntry>) => tarOf({ name: 'a', content: 'x', ...members });
  const cases: readonly (readonly [Uint8Array, RegExp])[] = [
    [entry({ name: '../a' }), /: "\.\.\/a" is outside of the archive$/],
    [entry({ name: 'a/../../b' }), /is outside of the archive$/],
    [entry({ name: 'l', flag: '1', target: '../../etc/passwd' }), /is outside of the archive$/],
    [entry({ name: 'l', flag: '1', target: 'l' }), /is a link to "l", which is no earlier file$/],
    [entry({ checksum: 1 }), /: neither a tar file, also gzipped, nor a zip file$/],
    [tarOf({ name: 'a' }, { name: 'b', checksum: 1 }), /: the header at byte 512 is damaged$/],
    [entry({ size: '9'.repeat(12) }), /: a header has a damaged number$/],
    [entry({ size: `\u{80}${'\u{fe}'.repeat(11)}` }), /: a header has a number that is too large$/],
    [tarOf(paxEntry({ size: '9007199254740993' }), { name: 'a' }), /is no number$/],
    [
      tarOf({ name: 'x', flag: 'x', content: '99 path=a\n' }, { name: 'a' }),
      /: an extended header is damaged$/,
    ],
    [
      tarOf({ name: 'x', flag: 'x', content: '11 path=a\n' }, { name: 'a' }),
      /: an extended header is damaged$/,
    ],
    [tarOf({ name: 'x', flag: 'x', size: '77777777777\0' }), /: an extended header is too large$/],
    [tarOf(paxEntry({ path: 'n'.repeat(256) }), { name: 'a' }), /is not a valid path$/],
    [tarOf(paxEntry({ 'GNU.sparse.major': '1' }), { name: 'a' }), /: it has a sparse file of GNU tar$/],
    [entry({ flag: 'S' }), /: it has a sparse file of GNU tar$/],
    [tarOf({ name: 'a' }).subarray(0, 500), /: neither a tar file/],
    [Buffer.concat([tarOf({ name: 'a' }).subarray(0, 512), Buffer.from('x')]), /: it ends at byte 513/],
    [gzipSync(tarOf({ name: 'a' })).subarray(0, 40), /: the packed content is damaged: /],
    [gzipSync('text'), /: neither a tar file/],
    [Buffer.from('text'), /: neither a tar file/],
    [Buffer.alloc(0), /: neither a tar file/],
  ];
  for (const [bytes, message] of cases) await isRefused(bytes, message);
  assert.deepEqual(openFiles(), []);
  await assert.rejects(archive(join(folder, 'none')), { code: 'ENOENT' });
  await assert.rejects(archive(folder), /: not a regular file$/);
});

test('limits of archives', async () => {
  const two = tarOf({ name: 'a', content: 'x' }, { name: 'b/c' });
  await isRefused(two, /: it has more than 2 entries$/, { maxEntries: 2 });
  await isRefused(gzipSync(Buffer.alloc(100_000)), /needs more than 50000 bytes/, {
    maxUnpackedBytes: 50_000,
  });
  const bomb = zipOf([{ name: 'a', content: Buffer.alloc(100_000) }]);
  const guestOf = (guest: TestClient) => assert.rejects(guest.read('a'), /^Error: ENOSPC$/);
  await mounted(file(bomb), guestOf, { maxUnpackedBytes: 50_000 });
  const signal = AbortSignal.abort();
  await assert.rejects(archive(file(gzipSync(two)), { signal }), { name: 'AbortError' });
});

test('targets of links and members without meaning do not add up in memory', async () => {
  const link = (length: number, name = 'a') => [
    paxEntry({ linkpath: 't'.repeat(length) }),
    { name, flag: '2' },
  ];
  await isRefused(tarOf(...link(4096)), /: "a" has a target that is too long$/);
  await mounted(file(tarOf(...link(4095))), async (guest) => {
    assert.equal((await guest.readlink('a')).length, 4095);
  });
  const many = Array.from({ length: 16_400 }, (_, i) => link(4095, `l${i}`)).flat();
  await isRefused(gzipSync(tarOf(...many), { level: 1 }), /have targets of more than 67108864 bytes$/);
  const records = Buffer.from('14 comment=ab\n11 path=ab\n24 GNU.sparse.major=ten\n');
  assert.deepEqual([...parsePax(records).keys()], ['path', SPARSE_MEMBER]);
});

test('a tar file that is cut off while it is open', async () => {
  const path = file(tarOf({ name: 'a', content: LARGE }));
  await mounted(path, async (guest) => {
    truncateSync(path, 2000);
    await assert.rejects(guest.read('a'), /^Error: EIO$/);
  });
});

test('zip files', async () => {
  const bytes = zipOf(
    [
      { name: 'deflated', content: LARGE, mode: 0o100_755 },
      { name: 'stored', content: 'stored', method: 0 },
      { name: 'd/', mode: 0o040_700 },
      { name: 'd/link', content: '../stored', mode: 0o120_777 },
      { name: 'empty' },
      { name: 'no-mode', content: 'x', mode: 0 },
    ],
    'a comment',
  );
  await mounted(file(bytes), async (guest) => {
    assert.deepEqual(await guest.names(''), ['d', 'deflated', 'empty', 'no-mode', 'stored']);
    const [first, second] = await Promise.all([guest.read('deflated', 100_000), guest.read('deflated')]);
    assert.ok(first.equals(LARGE) && second.equals(LARGE));
    assert.equal(String(await guest.read('stored')), 'stored');
    assert.equal((await guest.read('empty')).length, 0);
    assert.equal(await guest.readlink('d/link'), '../stored');
    const { mode, size, modified } = await guest.stat('deflated');
    assert.deepEqual([mode, size], [0o100_755, 700_000]);
    assert.equal(modified.seconds, Date.UTC(2024, 1, 3, 4, 5, 6) / 1000);
    assert.equal((await guest.stat('no-mode')).mode, 0o100_644);
    assert.equal((await guest.stat('d')).mode, 0o040_700);
  });
});

test('a file of the program `zip`, if there is one', async (t) => {
  const path = join(folder, 'by-zip.zip');
  writeFileSync(join(folder, 'large'), LARGE);
  symlinkSync('large', join(folder, 'to-large'));
  try {
    execFileSync('zip', ['-qy', path, 'large', 'to-large'], { cwd: folder });
  } catch {
    return t.skip('there is no program zip');
  }
  await mounted(path, async (guest) => {
    assert.ok((await guest.read('large')).equals(LARGE));
    assert.equal(await guest.readlink('to-large'), 'large');
  });
});

test('hostile zip files', async () => {
  const whole = zipOf([{ name: 'a', content: 'x' }]);
  await isRefused(zipOf([{ name: '../a' }]), /: "\.\.\/a" is outside of the archive$/);
  await isRefused(zipOf([{ name: 'a', flags: 1 }]), /: "a" is encrypted$/);
  await isRefused(zipOf([{ name: 'a', method: 12 }]), /: "a" is packed by method 12;/);
  await isRefused(whole.subarray(0, -1), /: its directory is missing: the file is not complete$/);
  await isRefused(zipOf([{ name: 'a', size: 0xffff_ffff }]), /: a header has no size$/);
  const broken = Buffer.from(whole);
  broken.writeUInt32LE(5, whole.length - 6);
  await isRefused(broken, /: the header at byte 5 is damaged$/);
  const unreadable: readonly Parameters<typeof zipOf>[0][number][] = [
    { name: 'a', content: 'content', packed: Buffer.from([0xff, 0xff]) },
    { name: 'a', content: 'content', size: 3 },
    { name: 'a', content: 'content', size: 9 },
    { name: 'a', content: 'x', size: 5000, method: 0 },
  ];
  for (const entry of unreadable)
    await mounted(file(zipOf([entry])), (guest) => assert.rejects(guest.read('a'), /^Error: EIO$/));
  await mounted(file(zipOf([])), async (guest) => assert.deepEqual(await guest.names(''), []));
});
