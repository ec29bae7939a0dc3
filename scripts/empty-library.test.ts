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

test('the loader refuses nearly all other names by the filter', () => {
  const functions = Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`function_${i}`, 0]));
  const file = emptyLibrary({ ...LIBRARY, functions }, PROCESSORS.x64);
  const table = 64 + 4 * 56;
  const [buckets, , words, shift] = [0, 4, 8, 12].map((at) => file.readUInt32LE(table + at));
  assert.equal(buckets, 1);
  const mayHave = (name: string): boolean => {
    const hash = Buffer.from(name).reduce((sum, one) => (sum * 33 + one) % 2 ** 32, 5381);
    const word = file.readBigUInt64LE(table + 16 + 8 * (Math.floor(hash / 64) % (words ?? 0)));
    const has = (bit: number): boolean => ((word >> BigInt(bit % 64)) & 1n) === 1n;
    return has(hash) && has(Math.floor(hash / 2 ** (shift ?? 0)));
  };
  assert.ok(Object.keys(functions).every(mayHave));
  const others = Array.from({ length: 10_000 }, (_, i) => `other_${i}`).filter(mayHave);
  assert.ok(others.length < 300, `${others.length}`);
});
