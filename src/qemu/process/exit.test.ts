import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainExit, type ExitFacts } from './exit.ts';

const FACTS: ExitFacts = { shutdownReason: '', byKill: false, wasAsked: false, stderrTail: '' };
const CLEAN = { code: 0, signal: null };
const KILLED = { code: null, signal: 'SIGKILL' } as const;

test('a power-off and a reset of the guest are known by QEMU’s reason', () => {
  const reasonFor = (shutdownReason: string) => explainExit(CLEAN, { ...FACTS, shutdownReason }).reason;
  assert.equal(reasonFor('guest-shutdown'), 'power-off');
  assert.equal(reasonFor('guest-reset'), 'reset');
  assert.equal(reasonFor('host-signal'), 'crash');
  assert.equal(reasonFor(''), 'crash');
});

test('an exit that the VMM asked for is no crash, whatever its status', () => {
  for (const status of [CLEAN, KILLED])
    assert.equal(explainExit(status, { ...FACTS, wasAsked: true }).reason, 'quit');
});

test('SIGKILL after the guest’s power-off is a crash, but for a QEMU that is always killed', () => {
  const facts = { ...FACTS, shutdownReason: 'guest-shutdown' };
  assert.equal(explainExit(KILLED, facts).reason, 'crash');
  assert.equal(explainExit(KILLED, { ...facts, byKill: true }).reason, 'power-off');
});

test('the detail has the status and the last lines of standard error', () => {
  assert.equal(explainExit({ code: 1, signal: null }, FACTS).detail, 'exit code 1');
  assert.equal(explainExit(KILLED, { ...FACTS, stderrTail: 'no space' }).detail, 'signal SIGKILL: no space');
});
