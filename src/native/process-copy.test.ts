import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { loadLibc } from './libc.ts';
import { allocate } from './memory.ts';
import { readProcess, readProcessOnThread, writeProcess } from './process-copy.ts';

before(loadLibc);

test('runs of a process are copied into a buffer and back, in their order', () => {
  const block = allocate(8192);
  const memory = new Uint8Array(block.view.buffer, 0, 8192);
  memory.fill(1, 0, 10);
  memory.fill(2, 5000, 5003);
  const runs = [
    { address: block.address + 8, length: 3 },
    { address: block.address + 4999, length: 2 },
  ];
  const bytes = new Uint8Array(5);
  readProcess(process.pid, runs, bytes);
  assert.deepEqual([...bytes], [1, 1, 0, 0, 2]);
  writeProcess(process.pid, runs, Uint8Array.of(9, 8, 7, 6, 5));
  assert.deepEqual([...memory.subarray(7, 12)], [1, 9, 8, 7, 0]);
  assert.deepEqual([...memory.subarray(4998, 5003)], [0, 6, 5, 2, 2]);
  block.free();
});

test('memory that is not mapped is an error', () => {
  const runs = [{ address: 4096, length: 4096 }];
  assert.throws(() => readProcess(process.pid, runs, new Uint8Array(4096)), /EFAULT/);
});

test('a process that has ended is an error', () => {
  assert.throws(() => readProcess(2 ** 22 + 1, [{ address: 4096, length: 1 }], new Uint8Array(1)), /ESRCH/);
});

test('memory of a process is read on a thread; an error is that of the call', async () => {
  const block = allocate(8192);
  new Uint8Array(block.view.buffer, 0, 8192).fill(7, 4000, 5000);
  const bytes = new Uint8Array(1002);
  await readProcessOnThread(process.pid, block.address + 3999, bytes);
  assert.deepEqual([bytes[0], bytes[1], bytes[1000], bytes[1001]], [0, 7, 7, 0]);
  block.free();
  await assert.rejects(readProcessOnThread(process.pid, 4096, bytes), /EFAULT/);
  await assert.rejects(readProcessOnThread(2 ** 22 + 1, 4096, bytes), /ESRCH/);
});
