import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findLibraries, REPLACED_LIBRARIES } from './replaced-libraries.ts';

/** Runs with a folder that has the libraries. */
function withLibraries(name: string, run: (folder: string) => void): void {
  const home = mkdtempSync(join(tmpdir(), 'libraries-'));
  try {
    const folder = join(home, name);
    mkdirSync(folder);
    for (const library of REPLACED_LIBRARIES) writeFileSync(join(folder, library), '', { mode: 0o644 });
    chmodSync(home, 0o755);
    run(folder);
  } finally {
    rmSync(home, { recursive: true });
  }
}

test('the libraries are named for the loader, after the C library', () => {
  withLibraries('x64', (folder) => {
    const paths = REPLACED_LIBRARIES.map((name) => join(folder, name));
    assert.equal(findLibraries(folder, false), ['libc.so.6', ...paths].join(':'));
  });
});

test('no library is named if one is missing', () => {
  withLibraries('x64', (folder) => {
    rmSync(join(folder, REPLACED_LIBRARIES[0]));
    assert.equal(findLibraries(folder, false), undefined);
  });
});

for (const name of ['a b', 'a:b', 'a$b', 'a\nb'])
  test(`no library is named in the folder ${JSON.stringify(name)}`, () => {
    withLibraries(name, (folder) => assert.equal(findLibraries(folder, false), undefined));
  });

test('another user gets the libraries if the user can read them', () => {
  withLibraries('x64', (folder) => {
    assert.notEqual(findLibraries(folder, true), undefined);
    chmodSync(join(folder, '..'), 0o700);
    assert.equal(findLibraries(folder, true), undefined);
    assert.notEqual(findLibraries(folder, false), undefined);
    chmodSync(join(folder, '..'), 0o755);
    chmodSync(join(folder, REPLACED_LIBRARIES[1]), 0o600);
    assert.equal(findLibraries(folder, true), undefined);
  });
});
