import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainEnd, POWER_OFF } from './guest-end.ts';

const EXIT = { code: 0, signal: null, reason: 'exit' } as const;

test('a panic is named with its last message, without control characters', () => {
  const serial =
    'x\r\nKernel panic - not syncing: first\r\n[1.0] Kernel panic - not syncing: VFS: \u001B[2J none\r\n---[';
  assert.equal(explainEnd(EXIT, serial), "the guest's kernel panicked: VFS: ?[2J none");
});

test('the other reasons are those of the VMM', () => {
  assert.equal(explainEnd(EXIT, ''), POWER_OFF);
  assert.equal(
    explainEnd({ code: null, signal: 'SIGKILL', reason: 'exit' }, ''),
    'the VMM was ended by SIGKILL',
  );
  assert.equal(explainEnd({ code: 1, signal: null, reason: 'exit' }, ''), 'the VMM exited with code 1');
  assert.equal(explainEnd({ ...EXIT, reason: 'shutdown' }, ''), 'another program shut the VM down');
  assert.equal(
    explainEnd({ code: 1, signal: null, reason: 'crash', detail: 'signal SIGSEGV' }, ''),
    'QEMU crashed: signal SIGSEGV',
  );
});
