import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLinuxSignal } from './signals.ts';

test('signals by name in any case, with and without SIG, and by number', () => {
  for (const text of ['HUP', 'SIGHUP', 'hup', 'sighup', '1', '01'])
    assert.deepEqual(readLinuxSignal(text), { name: 'HUP', number: 1 }, text);
  for (const [text, number] of [
    ['KILL', 9],
    ['STOP', 19],
    ['WINCH', 28],
    ['PWR', 30],
    ['SYS', 31],
    ['STKFLT', 16],
    ['RTMIN', 34],
    ['RTMIN+2', 36],
    ['rtmax-1', 63],
    ['SIGRTMAX', 64],
    ['33', 33],
    ['64', 64],
  ] as const) {
    const signal = readLinuxSignal(text);
    assert.ok('number' in signal, text);
    assert.equal(signal.number, number, text);
  }
});

test('other texts get the nearest name, or the form', () => {
  assert.deepEqual(readLinuxSignal('TREM'), { hint: 'did you mean TERM?' });
  assert.deepEqual(readLinuxSignal('usr11'), {
    hint: 'expected a name such as TERM, or a number from 1 to 64',
  });
  for (const text of ['', '0', '65', '-1', '1.5', 'RTMIN+31', 'constructor', '9 9'])
    assert.ok('hint' in readLinuxSignal(text), text);
});
