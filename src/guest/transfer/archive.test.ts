import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { startSshServer } from '../../../tests/support/ssh-server.ts';
import { connectGuest } from '../connect-guest.ts';
import { GuestError } from '../errors.ts';

/** GNU tar writes and reads the archives. */
function tar(input: Buffer | undefined, ...args: string[]): Buffer {
  return execFileSync('tar', args, { maxBuffer: 2 ** 26, ...(input !== undefined && { input }) });
}

test('tar archives', async (t) => {
  await using server = startSshServer();
  await using guest = await connectGuest(server);
  const folder = mkdtempSync(join(tmpdir(), 'nephos-archive-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const makeDirectory = (name: string): string => {
    mkdirSync(join(folder, name));
    return join(folder, name);
  };
  const upload = (archive: Buffer, to: string): Promise<void> =>
    guest.uploadArchive(Readable.from([archive]), to);
  const download = async (from: string): Promise<Buffer> => {
    const sink = new PassThrough();
    const [bytes] = await Promise.all([buffer(sink), guest.downloadArchive(from, sink)]);
    return bytes;
  };
  const source = makeDirectory('source');
  const content = 'x'.repeat(100_000);
  const longName = `${'n'.repeat(120)} "ü"`;
  mkdirSync(join(source, 'dir'), { mode: 0o750 });
  writeFileSync(join(source, 'dir', longName), content);
  writeFileSync(join(source, 'empty'), '');
  writeFileSync(join(source, 'program'), '#!/bin/sh\n', { mode: 0o755 });
  linkSync(join(source, 'program'), join(source, 'same'));
  symlinkSync('dir/absent', join(source, 'link'));
  chmodSync(join(source, 'program'), 0o4711);
  utimesSync(join(source, 'program'), 1e9, 1e9);
  utimesSync(join(source, 'dir'), 1.1e9, 1.1e9);

  await t.test('files, directories and links of an archive of GNU tar are written', async () => {
    const target = makeDirectory('upload');
    await upload(tar(undefined, '-C', source, '-cf', '-', '.'), target);
    assert.deepEqual(readdirSync(target).toSorted(), ['dir', 'empty', 'link', 'program', 'same']);
    assert.equal(readFileSync(join(target, 'dir', longName), 'utf8'), content);
    assert.equal(readlinkSync(join(target, 'link')), 'dir/absent');
    const [dir, program, same] = ['dir', 'program', 'same'].map((name) => lstatSync(join(target, name)));
    assert.deepEqual([dir?.mode, dir?.mtimeMs], [0o40750, 1.1e12]);
    assert.deepEqual([program?.mode, program?.mtimeMs], [0o104711, 1e12]);
    assert.equal(program?.ino, same?.ino);
  });

  await t.test('GNU tar reads an archive of a directory, whose names begin with its last name', async () => {
    const target = makeDirectory('download');
    tar(await download(`${source}/`), '-C', target, '-xpf', '-');
    assert.deepEqual(readdirSync(target), ['source']);
    const copy = join(target, 'source');
    assert.equal(readFileSync(join(copy, 'dir', longName), 'utf8'), content);
    assert.equal(readlinkSync(join(copy, 'link')), 'dir/absent');
    assert.equal(statSync(join(copy, 'program')).mode, 0o104711);
    assert.equal(statSync(join(copy, 'dir')).mtimeMs, 1.1e12);
    const names = tar(await download(`${source}/.`), '-tf', '-')
      .toString()
      .split('\n');
    assert.deepEqual(names.slice(0, 2), ['./', './dir/']);
  });

  await t.test('an archive of a file has one entry', async () => {
    const archive = await download(join(source, 'program'));
    assert.equal(tar(archive, '-tf', '-').toString(), 'program\n');
    assert.equal(tar(archive, '-xOf', '-', 'program').toString(), '#!/bin/sh\n');
  });

  await t.test('existing files and links are replaced, and no link is followed', async () => {
    const target = makeDirectory('replace');
    writeFileSync(join(folder, 'other'), 'unchanged');
    symlinkSync(join(folder, 'other'), join(target, 'empty'));
    writeFileSync(join(target, 'link'), 'a file');
    await upload(tar(undefined, '-C', source, '-cf', '-', 'empty', 'link'), target);
    assert.ok(lstatSync(join(target, 'empty')).isFile());
    assert.equal(readlinkSync(join(target, 'link')), 'dir/absent');
    assert.equal(readFileSync(join(folder, 'other'), 'utf8'), 'unchanged');
  });

  await t.test('a wrong archive is refused with its reason', async () => {
    const target = makeDirectory('refused');
    const whole = tar(undefined, '-C', source, '-cf', '-', 'dir');
    const escaping = tar(undefined, '-C', source, '-P', '--transform', 's,^,../,', '-cf', '-', 'empty');
    const device = tar(undefined, '-C', '/dev', '-cf', '-', 'null');
    for (const [archive, reason] of [
      [whole.subarray(0, 50_000), /Unexpected end/],
      [Buffer.alloc(2048, 'text'), /Invalid tar header/],
      [escaping, /"\.\.\/empty" in the tar archive leaves its directory/],
      [device, /null in the tar archive is a character-device: only files, directories and links/],
    ] as const)
      await assert.rejects(upload(archive, target), (error) => {
        assert.ok(error instanceof GuestError);
        assert.match(error.message, reason);
        return true;
      });
    await assert.rejects(upload(whole, join(source, 'empty')), /empty in the guest is not a directory/);
    const unread = (from: string): Promise<void> => guest.downloadArchive(from, new PassThrough());
    await assert.rejects(unread('/dev/null'), /neither a file, a directory nor a link/);
    await assert.rejects(unread(join(folder, 'absent')), /no such file or directory/);
  });

  await t.test('sockets, FIFOs and devices are left out where the caller takes their paths', async () => {
    const special = makeDirectory('special');
    writeFileSync(join(special, 'file'), 'content');
    execFileSync('mkfifo', [join(special, 'fifo')]);
    const skipped: string[] = [];
    const onSkipped = (path: string): void => void skipped.push(path);
    const target = makeDirectory('without');
    const archive = tar(undefined, '-C', special, '-cf', '-', '.');
    await guest.uploadArchive(Readable.from([archive]), target, { onSkipped });
    assert.deepEqual(readdirSync(target), ['file']);
    const sink = new PassThrough();
    const [bytes] = await Promise.all([buffer(sink), guest.downloadArchive(special, sink, { onSkipped })]);
    assert.equal(tar(bytes, '-tf', '-').toString(), 'special/\nspecial/file\n');
    assert.deepEqual(skipped, ['./fifo', join(special, 'fifo')]);
    await assert.rejects(
      guest.downloadArchive(special, new PassThrough()),
      /fifo in the guest is neither a file/,
    );
  });

  await t.test('a reader that closes ends a download', async () => {
    const closed = new Writable({
      write: (_bytes, _encoding, done) => done(Object.assign(new Error('closed'), { code: 'EPIPE' })),
    });
    await assert.rejects(guest.downloadArchive(source, closed), /closed/);
  });
});
