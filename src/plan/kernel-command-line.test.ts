import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usesAcpi, withoutTimerCheck } from './kernel-command-line.ts';

test('the word stands behind the others, and before what is for init', () => {
  assert.equal(withoutTimerCheck('console=ttyS0 a="b, c"'), 'console=ttyS0 a="b, c" no_timer_check');
  assert.equal(withoutTimerCheck('quiet -- -s'), 'quiet no_timer_check -- -s');
  assert.equal(withoutTimerCheck(''), 'no_timer_check');
});

test('a command line that has it, or no space for it, is not changed', () => {
  for (const line of ['no_timer_check', 'a no_timer_check b', 'x'.repeat(2047), 'x'.repeat(2033)]) {
    assert.equal(withoutTimerCheck(line), line);
  }
  assert.equal(withoutTimerCheck('x'.repeat(2032)).length, 2047);
});

test('a Linux with acpi=off reads no ACPI tables; the same word for init is none for the kernel', () => {
  assert.equal(usesAcpi('console=ttyS0'), true);
  assert.equal(usesAcpi('console=ttyS0 acpi=off quiet'), false);
  assert.equal(usesAcpi('noacpi=off x=acpi=off'), true);
  assert.equal(usesAcpi('quiet -- acpi=off'), true);
});
