import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeInBackground, inBackground } from './background.ts';
import { configureLog } from './log.ts';

/** Returns the lines that `act` logs until pending promises are settled. */
async function logged(act: () => void): Promise<string[]> {
  const lines: string[] = [];
  configureLog({ level: 'warn', write: (line) => lines.push(line) });
  act();
  await new Promise((resolve) => setImmediate(resolve));
  configureLog({ level: 'warn', write: (line) => process.stderr.write(line) });
  return lines;
}

test('a rejection of background work is logged and ends nothing', async () => {
  const lines = await logged(() => inBackground('drivers', Promise.reject(new Error('QEMU exited'))));
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /drivers: QEMU exited/);
});

test('background work that succeeds logs nothing', async () => {
  assert.deepEqual(await logged(() => inBackground('drivers', Promise.resolve())), []);
});

test('a file that cannot be closed is logged; no file is no work', async () => {
  const file = { close: () => Promise.reject(new Error('EIO: i/o error')) };
  const [line] = await logged(() => {
    closeInBackground(undefined);
    closeInBackground(file);
  });
  assert.match(line ?? '', /a file could not be closed: i\/o error/);
});
