import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createIdleMemory, releaseMemory } from './idle-memory.ts';

test('memory is returned once, after the last of several pieces of work', async () => {
  const calls: number[] = [];
  const release = (): Promise<void> => Promise.resolve(void calls.push(performance.now()));
  using memory = createIdleMemory([{ afterMs: 50, release }]);
  memory.noteWork();
  await delay(20);
  const last = performance.now();
  memory.noteWork();
  while (calls.length === 0) await delay(5);
  assert.ok((calls[0] ?? 0) - last >= 49);
  await delay(120);
  assert.equal(calls.length, 1);
});

test('a later step runs after an earlier one, also if that one fails', async () => {
  using _awake = keepAwake();
  const calls: string[] = [];
  const step = (name: string, afterMs: number) => ({
    afterMs,
    release: () => {
      calls.push(name);
      return Promise.reject(new Error('no'));
    },
  });
  using memory = createIdleMemory([step('first', 10), step('second', 40)]);
  memory.noteWork();
  while (calls.length < 2) await delay(5);
  assert.deepEqual(calls, ['first', 'second']);
});

test('after the disposal, and after a failure, nothing happens', async () => {
  const calls: number[] = [];
  const release = (): Promise<void> => {
    calls.push(performance.now());
    return Promise.reject(new Error('no'));
  };
  const memory = createIdleMemory([{ afterMs: 1, release }]);
  memory.noteWork();
  while (calls.length === 0) await delay(5);
  memory.noteWork();
  memory[Symbol.dispose]();
  await delay(30);
  assert.equal(calls.length, 1);
});

test('buffers that are not reachable are freed', async () => {
  using _awake = keepAwake();
  const count = await fillMemory();
  const full = process.memoryUsage().arrayBuffers;
  await new Promise(setImmediate);
  // the process of all unit tests has a large heap
  await releaseMemory({ heapMax: Infinity });
  assert.ok(full - process.memoryUsage().arrayBuffers > count / 2, `${full}`);
});

test('a large heap is not collected, as that blocks the event loop', async () => {
  using _awake = keepAwake();
  const unreachable = new WeakRef({ text: 'garbage' });
  await releaseMemory({ heapMax: 0 });
  assert.ok(unreachable.deref() !== undefined);
});

/** Creates unreachable buffers. Returns their `bytes`. */
async function fillMemory(): Promise<number> {
  const blocks = Array.from({ length: 200 }, () => Buffer.alloc(2 ** 17, 1));
  await new Promise(setImmediate);
  return blocks.reduce((sum, { length }) => sum + length, 0);
}

/** Keeps the event loop running: the code under test does not. */
function keepAwake(): Disposable {
  const timer = setInterval(() => undefined, 1000);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
