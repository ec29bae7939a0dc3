import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import koffi from 'koffi';
import { emptyLibrary, PROCESSORS } from './empty-library.ts';

const LIBRARY = { name: 'libnothing.so.1', functions: { one: 1, zero: 0, most: 255 } };

test('the loader of this host loads a library, and its functions return their numbers', () => {
  const { arch } = process;
  if (arch !== 'x64' && arch !== 'arm64') throw new Error(`no such processor: ${arch}`);
  const folder = mkdtempSync(join(tmpdir(), 'library-'));
  try {
    const file = join(folder, 'file');
    writeFileSync(file, emptyLibrary(LIBRARY, PROCESSORS[arch]));
    const library = koffi.load(file);
    for (const [name, value] of Object.entries(LIBRARY.functions))
      assert.equal(library.func(`int ${name}()`)(), value, name);
    assert.throws(() => library.func('int other()'));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a library for arm64 has its machine and its instructions', () => {
  const file = emptyLibrary(LIBRARY, PROCESSORS.arm64);
  assert.equal(file.readUInt16LE(18), 183);
  // `movz w0, 255; ret`
  const code = Buffer.from('e01f8052c0035fd6', 'hex');
  assert.equal(file.indexOf(code) % 4, 0);
});
