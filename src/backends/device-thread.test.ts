import assert from 'node:assert/strict';
import { openSync } from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { Log } from '../util/log.ts';
import { hasHangingCalls } from '../util/path-deadline.ts';
import { waitForDevice, type ThreadMessage } from './device-thread.ts';

/** A thread that obeys no command: it hangs until the memory is changed. */
const HANGING = `
  const { parentPort, workerData } = require('node:worker_threads');
  parentPort.postMessage({ kind: 'ready', ...workerData.ends });
  Atomics.wait(workerData.memory, 0, 0);
`;

/** A thread that fails at its first command. */
const FAILING = `
  const { parentPort, workerData } = require('node:worker_threads');
  parentPort.once('message', () => {
    if (workerData.how === 'throws') throw new Error('a fault');
    parentPort.postMessage({ kind: 'failed', message: 'a fault' });
    parentPort.close();
  });
  parentPort.postMessage({ kind: 'ready', ...workerData.ends });
`;

function logTo(lines: string[]): Log {
  const add = (line: string): void => void lines.push(line);
  return { error: add, warn: add, info: add, debug: add, trace: add };
}

test('a thread that hangs in a call is left after a deadline, and ends when that returns', async () => {
  const lines: string[] = [];
  const memory = new Int32Array(new SharedArrayBuffer(4));
  // the thread's eventfd and connection, which are closed with it
  const ends = { wake: openSync('/dev/null', 'w'), frontEnd: openSync('/dev/null', 'r') };
  const worker = new Worker(HANGING, { eval: true, workerData: { memory, ends } });
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  const thread = await waitForDevice<never, ThreadMessage>(worker, logTo(lines), 10);
  await thread.stop();
  assert.deepEqual(lines, ['its thread hangs in a call of the host and ends when that returns']);
  assert.ok(hasHangingCalls(), 'an ordinary exit would not return');
  Atomics.store(memory, 0, 1);
  Atomics.notify(memory, 0);
  await exited;
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(!hasHangingCalls());
});

for (const how of ['throws', 'reports a failure']) {
  test(`a thread that ${how} is in the log, and its device can be stopped`, async () => {
    const lines: string[] = [];
    const ends = { wake: openSync('/dev/null', 'w'), frontEnd: openSync('/dev/null', 'r') };
    const worker = new Worker(FAILING, { eval: true, workerData: { how, ends } });
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    const thread = await waitForDevice<{ kind: 'any' }, ThreadMessage>(worker, logTo(lines));
    await assert.rejects(thread.ask({ kind: 'any' }, 'reconnected'), { message: 'a fault' });
    await exited;
    assert.deepEqual(lines, ['the device has stopped: a fault']);
    await assert.rejects(thread.ask({ kind: 'any' }, 'reconnected'), { message: 'the device has stopped' });
    await thread.stop();
  });
}
