import assert from 'node:assert/strict';
import { closeSync, readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { loadNative } from './load.ts';
import { openSocketPair } from './socket-pair.ts';

test('what is written to one end of a pair arrives at the other', async () => {
  const [own, childs] = openSocketPair(await loadNative());
  try {
    writeSync(own, 'text');
    const received = Buffer.alloc(16);
    assert.equal(received.toString('latin1', 0, readSync(childs, received)), 'text');
  } finally {
    closeSync(own);
    closeSync(childs);
  }
});
