import assert from 'node:assert/strict';
import { openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { Log } from '../util/log.ts';
import { hasHangingCalls } from '../util/path-deadline.ts';
import { loadLibc } from '../native/libc.ts';
import { prepareDevice, ThreadError, type ThreadMessage } from './device-thread.ts';

await loadLibc();

/** A thread that obeys no command: it hangs until the memory is changed. */
const HANGING = `
  const { parentPort, workerData } = require('node:worker_threads');
  parentPort.postMessage({ kind: 'ready', wake: workerData.wake });
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
  parentPort.postMessage({ kind: 'ready', wake: workerData.wake });
`;

/** A thread that fails before it runs, with a line in the log. */
const REFUSING = `
  const { parentPort } = require('node:worker_threads');
  parentPort.postMessage({ kind: 'log', level: 'warn', message: 'a warning' });
  parentPort.postMessage({ kind: 'failed', message: 'a fault', code: 'EIO' });
  parentPort.close();
`;

/** Returns the thread's eventfd, which is closed with it. */
function openWake(): number {
  return openSync('/dev/null', 'w');
}

function logTo(lines: string[]): Log {
  const add = (line: string): void => void lines.push(line);
  return { error: add, warn: add, info: add, debug: add, trace: add };
}

test('a thread that hangs in a call is left after a deadline, and ends when that returns', async () => {
  const lines: string[] = [];
  const memory = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(HANGING, { eval: true, workerData: { memory, wake: openWake() } });
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  const thread = prepareDevice<never, ThreadMessage>(() => worker, { log: logTo(lines), stopMs: 10 });
  await thread.start();
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
    const worker = new Worker(FAILING, { eval: true, workerData: { how, wake: openWake() } });
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    const thread = prepareDevice<{ kind: 'any' }, ThreadMessage>(() => worker, { log: logTo(lines) });
    await thread.start();
    await assert.rejects(thread.ask({ kind: 'any' }, 'reconnected'), { message: 'a fault' });
    await exited;
    assert.deepEqual(lines, ['the device has stopped: a fault']);
    await assert.rejects(thread.ask({ kind: 'any' }, 'reconnected'), { message: 'the device has stopped' });
    await thread.stop();
  });
}

test('QEMU may send before the thread runs, and reads the end of the stream after a failure', async () => {
  const lines: string[] = [];
  const thread = prepareDevice<never, ThreadMessage>(() => new Worker(REFUSING, { eval: true }), {
    log: logTo(lines),
    explain: (error) => new Error('a device', { cause: error }),
  });
  writeSync(thread.frontEnd, 'a message');
  await assert.rejects(thread.start(), { message: 'a device', cause: new ThreadError('a fault', 'EIO') });
  // the message is lost with the other end
  assert.throws(() => readSync(thread.frontEnd, Buffer.alloc(1)), { code: 'ECONNRESET' });
  assert.equal(readSync(thread.frontEnd, Buffer.alloc(1)), 0);
  await thread.stop();
  assert.deepEqual(lines, ['a warning'], 'the failure is the error of the caller');
});

test('a thread that cannot be started leaves no descriptor', async () => {
  const before = readdirSync('/proc/self/fd').length;
  const create = (): never => {
    throw new Error('no thread');
  };
  const thread = prepareDevice<never, ThreadMessage>(create, { log: logTo([]) });
  await assert.rejects(thread.start(), { message: 'no thread' });
  await thread.stop();
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

test('a device that is stopped before its start leaves no descriptor, and starts no thread', async () => {
  const before = readdirSync('/proc/self/fd').length;
  const create = (): never => assert.fail('a thread was started');
  const thread = prepareDevice<{ kind: 'any' }, ThreadMessage>(create, { log: logTo([]) });
  await thread.stop();
  assert.equal(readdirSync('/proc/self/fd').length, before);
  await assert.rejects(thread.ask({ kind: 'any' }, 'reconnected'), { message: 'the device has stopped' });
});
