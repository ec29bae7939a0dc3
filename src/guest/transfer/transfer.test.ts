import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { test } from 'node:test';
import { startSshServer } from '../../../tests/support/ssh-server.ts';
import { connectGuest } from '../connect-guest.ts';

test('files', async (t) => {
  await using server = startSshServer();
  await using guest = await connectGuest(server);
  const folder = mkdtempSync(join(tmpdir(), 'nephos-transfer-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const inGuest = join(folder, 'guest');
  mkdirSync(inGuest);
  const onHost = (name: string): string => join(folder, name);

  await t.test('a file has its bytes and its mode, in both directions', async () => {
    const bytes = randomBytes(3_333_333);
    writeFileSync(onHost('a'), bytes);
    chmodSync(onHost('a'), 0o751);
    const progress: number[] = [];
    await guest.upload(onHost('a'), join(inGuest, "b 'ü"), { onProgress: (done) => progress.push(done) });
    assert.ok(readFileSync(join(inGuest, "b 'ü")).equals(bytes));
    assert.equal(statSync(join(inGuest, "b 'ü")).mode & 0o7777, 0o751);
    assert.equal(progress.at(-1), bytes.length);
    await guest.download(join(inGuest, "b 'ü"), onHost('c'));
    assert.ok(readFileSync(onHost('c')).equals(bytes));
    assert.equal(statSync(onHost('c')).mode & 0o111, 0o111);
  });

  await t.test('a directory without its sockets and FIFOs, whose paths the caller takes', async () => {
    for (const name of ['special', 'special/sub']) mkdirSync(onHost(name));
    writeFileSync(onHost('special/file'), 'content');
    execFileSync('mkfifo', [onHost('special/fifo')]);
    const listener = createServer().listen(onHost('special/sub/socket'));
    await once(listener, 'listening');
    const skipped: string[] = [];
    const onSkipped = (path: string): void => void skipped.push(path);
    const target = join(inGuest, 'special');
    await guest.upload(onHost('special'), target, { onSkipped });
    await guest.download(onHost('special'), onHost('special copy'), { onSkipped });
    await assert.rejects(
      guest.upload(onHost('special'), target),
      /fifo is neither a file, a directory nor a link/,
    );
    await assert.rejects(guest.download(onHost('special'), onHost('special copy')), /neither a file/);
    listener.close();
    for (const copy of [target, onHost('special copy')])
      assert.deepEqual(
        new Set(readdirSync(copy, { encoding: 'utf8', recursive: true })),
        new Set(['file', 'sub']),
      );
    const paths = [onHost('special/fifo'), onHost('special/sub/socket')];
    assert.deepEqual(skipped, [...paths, ...paths]);
  });

  await t.test('a shorter file replaces a longer one', async () => {
    writeFileSync(join(inGuest, 'old'), 'a long text');
    writeFileSync(onHost('old'), 'another long text');
    await guest.upload(Readable.from(['new']), join(inGuest, 'old'));
    assert.equal(readFileSync(join(inGuest, 'old'), 'utf8'), 'new');
    await guest.download(join(inGuest, 'old'), onHost('old'));
    assert.equal(readFileSync(onHost('old'), 'utf8'), 'new');
  });

  await t.test('empty files, and files whose size is unknown', async () => {
    await guest.upload(Readable.from([]), join(inGuest, 'empty'), { mode: 0o600 });
    assert.equal(statSync(join(inGuest, 'empty')).mode & 0o777, 0o600);
    await guest.download(join(inGuest, 'empty'), onHost('empty'));
    assert.equal(readFileSync(onHost('empty'), 'utf8'), '');
    await guest.download('/proc/version', onHost('version'));
    assert.equal(readFileSync(onHost('version'), 'utf8'), readFileSync('/proc/version', 'utf8'));
  });

  await t.test('streams of 50 MB', async () => {
    const block = randomBytes(1_000_000);
    await guest.upload(Readable.from(Array.from({ length: 50 }, () => block)), join(inGuest, 'large'));
    const hash = createHash('sha256');
    await guest.download(
      join(inGuest, 'large'),
      new Writable({ write: (bytes, _, done) => (hash.update(bytes as Buffer), done()) }),
    );
    const expected = createHash('sha256');
    for (let i = 0; i < 50; i++) expected.update(block);
    assert.equal(hash.digest('hex'), expected.digest('hex'));
  });

  await t.test('a directory with modes, links and nested directories', async () => {
    const tree = onHost('tree');
    mkdirSync(join(tree, 'x', 'y'), { recursive: true });
    for (let i = 0; i < 30; i++) writeFileSync(join(tree, 'x', `f${i}`), `${i}`);
    writeFileSync(join(tree, 'x', 'y', 'run'), '#!', { mode: 0o755 });
    symlinkSync('../f1', join(tree, 'x', 'y', 'up'));
    symlinkSync('/absent/target', join(tree, 'dangling'));
    chmodSync(join(tree, 'x', 'y'), 0o500);
    await guest.upload(tree, join(inGuest, 'tree'));
    await guest.download(join(inGuest, 'tree'), onHost('back'));
    for (const root of [join(inGuest, 'tree'), onHost('back')]) {
      assert.deepEqual(
        new Set<unknown>(readdirSync(root, { recursive: true })),
        new Set<unknown>(readdirSync(tree, { recursive: true })),
      );
      assert.equal(readFileSync(join(root, 'x', 'f29'), 'utf8'), '29');
      assert.equal(readlinkSync(join(root, 'x', 'y', 'up')), '../f1');
      assert.equal(readlinkSync(join(root, 'dangling')), '/absent/target');
      assert.equal(statSync(join(root, 'x', 'y', 'run')).mode & 0o777, 0o755);
    }
    assert.equal(statSync(join(inGuest, 'tree', 'x', 'y')).mode & 0o777, 0o500);
    // again, onto the existing ones
    await guest.upload(tree, join(inGuest, 'tree'));
    await guest.download(join(inGuest, 'tree'), onHost('back'));
  });

  await t.test('a link on the host is replaced, not followed, within a directory', async () => {
    mkdirSync(join(inGuest, 'evil'));
    writeFileSync(join(inGuest, 'evil', 'a'), 'from the guest');
    mkdirSync(onHost('evil'));
    writeFileSync(onHost('precious'), 'precious');
    symlinkSync(onHost('precious'), join(onHost('evil'), 'a'));
    await guest.download(join(inGuest, 'evil'), onHost('evil'));
    assert.equal(readFileSync(onHost('precious'), 'utf8'), 'precious');
    assert.ok(lstatSync(join(onHost('evil'), 'a')).isFile());
    mkdirSync(join(inGuest, 'evil', 'd'));
    symlinkSync(folder, join(onHost('evil'), 'd'));
    await assert.rejects(guest.download(join(inGuest, 'evil'), onHost('evil')), { fault: 'transfer' });
  });

  await t.test('errors name the path and leave no incomplete file', async () => {
    await assert.rejects(guest.download('/absent', onHost('no')), {
      fault: 'transfer',
      message: '/absent in the guest: no such file or directory',
    });
    await assert.rejects(guest.upload(onHost('absent'), join(inGuest, 'no')), {
      fault: 'transfer',
      message: `${onHost('absent')}: no such file or directory`,
    });
    await assert.rejects(guest.upload(onHost('a'), '/absent/no'), {
      fault: 'transfer',
      message: '/absent/no in the guest: no such file or directory',
    });
    await assert.rejects(guest.download('/dev/null', onHost('no')), { fault: 'transfer' });
    await assert.rejects(guest.download(inGuest, new PassThrough()), { fault: 'transfer' });
    const failing = Readable.from(
      (async function* () {
        yield 'some';
        throw new Error('disk on fire');
      })(),
    );
    await assert.rejects(guest.upload(failing, join(inGuest, 'no')), { fault: 'transfer' });
    assert.ok(!existsSync(onHost('no')) && !existsSync(join(inGuest, 'no')));
  });

  await t.test('an abort ends a transfer and removes its file', async () => {
    const abort = new AbortController();
    const endless = new Readable({
      read() {
        this.push(Buffer.alloc(65_536));
      },
    });
    const result = guest.upload(endless, join(inGuest, 'endless'), {
      signal: abort.signal,
      onProgress: (done) => done > 1e6 && abort.abort(),
    });
    await assert.rejects(result, { fault: 'aborted' });
    assert.ok(!existsSync(join(inGuest, 'endless')));
    const stuck = guest.download('/dev/zero', onHost('zero'), { signal: AbortSignal.timeout(10) });
    await assert.rejects(stuck, { fault: /transfer|aborted/ });
  });

  await t.test('an existing device stays where a download to it fails', async () => {
    await guest.download(join(inGuest, 'old'), '/dev/null');
    await assert.rejects(guest.download('/absent', '/dev/null'));
    assert.ok(statSync('/dev/null').isCharacterDevice());
  });
});
