import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcomeOfCrash, outcomeOf, PANIC, type ExitPolicies } from './outcome.ts';

const POLICIES: ExitPolicies = { onPanic: undefined, onReboot: 'restart', staysUp: false, isServed: true };

test('a power-off ends the VMM without a problem, or only the VM with --no-shutdown', () => {
  const end = { reason: 'power-off', detail: 'exit code 0' } as const;
  assert.deepEqual(outcomeOf(end, undefined, POLICIES), { action: 'exit' });
  assert.deepEqual(outcomeOf(end, undefined, { ...POLICIES, staysUp: true }), { action: 'stop' });
});

test('--on-reboot decides about a reset; an exit after a panic is a failure', () => {
  const end = { reason: 'reset', detail: 'exit code 0' } as const;
  for (const onReboot of ['restart', 'pause', 'exit'] as const) {
    assert.deepEqual(outcomeOf(end, undefined, { ...POLICIES, onReboot }), { action: onReboot });
  }
  assert.deepEqual(outcomeOf(end, PANIC, { ...POLICIES, onReboot: 'exit' }), {
    action: 'exit',
    problem: `${PANIC}, and the machine was reset`,
  });
  assert.deepEqual(outcomeOf(end, PANIC, POLICIES), { action: 'restart' });
});

test('after a crash of QEMU a VMM without an API socket exits with a problem', () => {
  const end = { reason: 'crash', detail: 'signal SIGKILL' } as const;
  const problem = 'QEMU ended unexpectedly (signal SIGKILL)';
  assert.deepEqual(outcomeOf(end, undefined, POLICIES), { action: 'stop', problem, isCrash: true });
  assert.deepEqual(outcomeOf(end, undefined, { ...POLICIES, isServed: false }), {
    action: 'exit',
    problem,
    isCrash: true,
  });
  assert.deepEqual(outcomeOfCrash('x', false), { action: 'exit', problem: 'x', isCrash: true });
});
