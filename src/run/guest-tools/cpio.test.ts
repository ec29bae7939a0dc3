import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { cpioArchive, type ArchiveEntry } from './cpio.ts';

test('cpio unpacks an archive with its modes, contents and links', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cpio-'));
  try {
    const archive = cpioArchive([
      { kind: 'directory', path: 'a b' },
      { kind: 'directory', path: 'private', mode: 0o700 },
      ...[0, 1, 2, 3, 4, 5].map((size): ArchiveEntry => ({
        kind: 'file',
        path: `a b/é${size}`,
        content: Buffer.alloc(size, 'x'),
      })),
      { kind: 'file', path: 'run', content: Buffer.from('#!/bin/sh\n'), mode: 0o755 },
      { kind: 'link', path: 'link', target: '/else/where' },
    ]);
    execFileSync('cpio', ['--quiet', '-i', '--no-preserve-owner'], { cwd: folder, input: archive });
    for (const size of [0, 1, 2, 3, 4, 5])
      assert.equal(readFileSync(join(folder, `a b/é${size}`), 'latin1'), 'x'.repeat(size));
    assert.equal(lstatSync(join(folder, 'private')).mode & 0o7777, 0o700);
    assert.equal(lstatSync(join(folder, 'run')).mode & 0o7777, 0o755);
    assert.equal(readlinkSync(join(folder, 'link')), '/else/where');
    assert.match(
      execFileSync('cpio', ['--quiet', '-itvn'], { input: archive }).toString(),
      /^-rwxr-xr-x +1 0 +0 /m,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('an archive of parts has each part at a multiple of 4 bytes', () => {
  const file = (size: number): ArchiveEntry => ({
    kind: 'file',
    path: 'x'.repeat(size),
    content: Buffer.alloc(size),
  });
  for (let size = 1; size < 9; size += 1) assert.equal(cpioArchive([file(size)]).length % 4, 0);
});

test('paths that a cpio archive cannot have are refused', () => {
  for (const path of ['', 'a\0b']) {
    assert.throws(() => cpioArchive([{ kind: 'directory', path }]), RangeError);
  }
});
