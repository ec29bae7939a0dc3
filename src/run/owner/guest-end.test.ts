import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainEnd, POWER_OFF } from './guest-end.ts';

const EXIT = { code: 0, signal: null, reason: 'exit' } as const;

test('a panic is named with its last message, without control characters', () => {
  const serial =
    'x\r\nKernel panic - not syncing: first\r\n[1.0] Kernel panic - not syncing: VFS: \u001B[2J none\r\n---[';
  assert.equal(explainEnd(EXIT, serial), "the guest's kernel panicked: VFS: ?[2J none");
});

test('a boot that fails in the guest tools is named with its last step', () => {
  const panic =
    '[    2.8] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n[    2.9] CPU: 0';
  const boot = `nephos: cannot write /x: No such file or directory\r\nnephos: cannot configure eth0: error 19\r\n${panic}`;
  assert.equal(
    explainEnd(EXIT, boot),
    'the guest cannot boot: cannot configure eth0: error 19; the kernel may lack the driver, which docs/run.md names',
  );
  assert.equal(explainEnd(EXIT, `nephos: full disk\r\n${panic}`), 'the guest cannot boot: full disk');
  assert.match(
    explainEnd(EXIT, `nephos: a message\r\nother\r\n${panic}`),
    /panicked: Attempted to kill init!/,
  );
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
