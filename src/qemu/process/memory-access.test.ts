import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAccessible, mayAccessMemory } from './memory-access.ts';

const OWN = { capabilities: 0n, scope: 0, isOtherUser: false, dropsCapabilities: false };
const ALL = (1n << 41n) - 1n;

test('the memory of a child with the same user and capabilities is accessible', () => {
  assert.equal(isAccessible(OWN), true);
  assert.equal(isAccessible({ ...OWN, scope: 1 }), true, 'Yama permits parents');
  assert.equal(isAccessible({ ...OWN, scope: 2 }), false);
  assert.equal(isAccessible({ ...OWN, isOtherUser: true }), false);
  assert.equal(isAccessible({ ...OWN, dropsCapabilities: true }), false);
});

test('CAP_SYS_PTRACE makes all memory accessible, unless Yama forbids it to all', () => {
  const root = { ...OWN, capabilities: ALL, isOtherUser: true, dropsCapabilities: true };
  assert.equal(isAccessible({ ...root, scope: 2 }), true);
  assert.equal(isAccessible({ ...root, scope: 3 }), false);
  assert.equal(isAccessible({ ...root, capabilities: ALL & ~(1n << 19n) }), false);
});

test('the facts of this process are read', async () => {
  assert.equal(typeof (await mayAccessMemory({ dropsCapabilities: false })), 'boolean');
});
