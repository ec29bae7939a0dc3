import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeSignals } from './run-signals.ts';

test('a signal while the command is being started ends the run, with its code', () => {
  using signals = takeSignals();
  const sent: string[] = [];
  signals.deliver('SIGHUP');
  assert.ok(signals.start.aborted && !signals.stop.aborted);
  signals.forward((signal) => sent.push(signal));
  assert.deepEqual(signals.stop.reason, { code: 129, reason: 'SIGHUP' });
  assert.deepEqual(sent, []);
});

test('a signal that ends nothing is forwarded from the start of the command on', () => {
  using signals = takeSignals();
  const sent: string[] = [];
  signals.deliver('SIGUSR1');
  signals.forward((signal) => sent.push(signal));
  signals.deliver('SIGUSR1');
  assert.deepEqual(sent, ['USR1']);
  assert.ok(!signals.stop.aborted);
});
