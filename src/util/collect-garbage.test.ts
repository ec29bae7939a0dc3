import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapCodeStatistics } from 'node:v8';
import { Script } from 'node:vm';
import { collectGarbage } from './collect-garbage.ts';

test('unreachable objects are collected', async () => {
  const reference = new WeakRef({ bytes: Buffer.alloc(2 ** 20) });
  // a reference keeps its object until the end of the current turn
  await new Promise(setImmediate);
  await collectGarbage();
  assert.equal(reference.deref(), undefined);
});

test('V8 accepts a code cache from before a collection', async () => {
  const source = 'function f() { return 1 }; f()';
  const cachedData = new Script(source).createCachedData();
  await collectGarbage({ dropCode: true });
  assert.equal(new Script(source, { cachedData }).cachedDataRejected, false);
  assert.equal('gc' in globalThis, false);
});

test('the code of a function is dropped, and compiled again at its next call', async () => {
  const sum = Array.from({ length: 5000 }, (_, i) => `x * ${i}`).join(' + ');
  const compute: unknown = new Script(`(function (x) { return ${sum}; })`).runInThisContext();
  assert.ok(typeof compute === 'function');
  assert.equal(compute(2), 24_995_000);
  const compiled = getHeapCodeStatistics().bytecode_and_metadata_size;
  await collectGarbage({ dropCode: true });
  // the function has 5,000 constants and instructions to load each
  assert.ok(compiled - getHeapCodeStatistics().bytecode_and_metadata_size > 20_000);
  assert.equal(compute(2), 24_995_000);
});
