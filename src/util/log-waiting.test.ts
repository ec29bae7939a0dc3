import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { configureLog, createLog } from './log.ts';
import { logWaiting } from './log-waiting.ts';

/** Returns the lines of the log while `act` runs. */
function logged(isTerminal: boolean, act: () => void): string {
  let text = '';
  mock.timers.enable({ apis: ['setInterval'] });
  configureLog({ level: 'warn', isTerminal, write: (part) => (text += part) });
  try {
    act();
  } finally {
    mock.timers.reset();
    configureLog({ level: 'warn', write: (part) => void process.stderr.write(part) });
  }
  return text.replaceAll(/: [\d.]+m?s: /g, ': ');
}

test('a wait is logged at once, and a terminal gets a dot a second until it ends', () => {
  const text = logged(true, () => {
    const waiting = logWaiting('fs', 'fs _fs0: /x');
    mock.timers.tick(2500);
    createLog('vm').warn('between');
    mock.timers.tick(1000);
    waiting[Symbol.dispose]();
    mock.timers.tick(5000);
  });
  assert.equal(
    text,
    'cloud-hypervisor: <vmm> INFO:fs -- waiting for fs _fs0: /x\n' +
      '..\ncloud-hypervisor: <vmm> WARN:vm -- between\n.\n',
  );
});

test('a log that is no terminal gets the line alone', () => {
  const text = logged(false, () => {
    using _waiting = logWaiting('fs', 'fs _fs0: /x');
    mock.timers.tick(5000);
  });
  assert.equal(text, 'cloud-hypervisor: <vmm> INFO:fs -- waiting for fs _fs0: /x\n');
});
