// Guest memory of another process: the tests of the dirty log again, sessions with a read-only file, and a process that exits.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadLibc } from '../../native/libc.ts';
import { allocate, mapShared, putVector, unmap } from '../../native/memory.ts';
import { Chain } from './descriptor-chain.ts';
import { MemoryError } from './queue-error.ts';
import { Request } from './message.ts';
import { ProcessMemory } from './process-memory.ts';
import {
  openReadOnly,
  RAM,
  start,
  startRequests,
  table,
  USER,
  withDescriptors,
  withSession,
} from './test-front-end.ts';
import { useAccess } from './test-memory.ts';

await loadLibc();
useAccess('process');
await import('./dirty-log.fuzz.test.ts');

/** Replaces the address at which the requests of a front-end have its memory. */
function movedTo(base: number, payload: Uint8Array): Uint8Array {
  const view = new DataView(payload.buffer);
  for (let at = 0; at + 8 <= payload.length; at += 8) {
    const value = view.getBigUint64(at, true);
    if (value >= USER && value < USER + BigInt(RAM)) view.setBigUint64(at, value - USER + BigInt(base), true);
  }
  return payload;
}

test('memory of a read-only file is that of the front-end’s process, and of others it is mapped', () => {
  withDescriptors((file, kick) => {
    const snapshot = openReadOnly(file);
    const base = mapShared(file, RAM);
    const seen = withSession(function* (bench) {
      const { seen, send, reply } = bench;
      const requests = startRequests(snapshot, kick).map(
        ([request, payload, fds]) => [request, movedTo(base, payload), fds] as [number, Uint8Array, number[]],
      );
      yield* start(bench, requests);
      assert.equal(seen.last?.memory.process?.pid, process.pid);
      send(Request.SetMemTable, movedTo(base, table([[0n, BigInt(RAM), USER, 0n]])), [file]);
      yield;
      assert.equal(reply(), 0n);
      assert.equal(seen.last.memory.process, undefined, 'a file that can be written is mapped');
    });
    assert.ok(seen.events.filter((event) => event === 'started' || event === 'resumed').length >= 2);
    unmap(base, RAM);
    closeSync(snapshot);
  });
});

test('rings at an address that the process has not do not start, and the session goes on', () => {
  withDescriptors((file, kick) => {
    const snapshot = openReadOnly(file);
    const seen = withSession((bench) => start(bench, startRequests(snapshot, kick)));
    assert.equal(seen.events.includes('started'), false);
    closeSync(snapshot);
  });
});

/** Returns an address that a process can read and write. */
function writableAddress(pid: number): number {
  const [, address = ''] =
    /^([0-9a-f]+)-[0-9a-f]+ rw-p .*\[stack\]$/m.exec(readFileSync(`/proc/${pid}/maps`, 'latin1')) ?? [];
  return Number.parseInt(address, 16);
}

test('after the exit of the process reads throw, and writes fail without an error', async () => {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  const address = writableAddress(pid);
  const [local, vector] = [allocate(4096), allocate(16)];
  using memory = new ProcessMemory(pid);
  putVector(vector.view, 0, address, 8);
  const read = (): void => memory.read(local.address + 8, 8, { vectors: vector.address, count: 1 });
  local.view.setBigUint64(0, 0x1122_3344_5566_7788n);
  memory.write(address, local.address, 8);
  assert.equal(memory.flush(), true);
  read();
  assert.equal(local.view.getBigUint64(8), 0x1122_3344_5566_7788n);

  child.kill('SIGKILL');
  await once(child, 'exit');
  memory.write(address, local.address, 8);
  assert.equal(memory.flush(), false);
  assert.throws(read, MemoryError);
  assert.throws(() => new ProcessMemory(pid), MemoryError);
  for (const block of [local, vector]) block.free();
});

test('writes of any size and number arrive in their order', () => {
  const [source, target] = [allocate(4 * 2 ** 20), allocate(4 * 2 ** 20)];
  const bytes = (block: typeof source): Uint8Array =>
    new Uint8Array(block.view.buffer, block.view.byteOffset);
  bytes(source).forEach((_, i, all) => (all[i] = i * 7));
  using memory = new ProcessMemory(process.pid);
  memory.write(target.address, source.address, 3 * 2 ** 20);
  for (let i = 0; i < 3000; i++) memory.write(target.address + i * 3, source.address + i, 3);
  assert.equal(memory.flush(), true);
  const expected = bytes(source).slice(0, 3 * 2 ** 20);
  for (let i = 0; i < 3000; i++) expected.set(bytes(source).subarray(i, i + 3), i * 3);
  assert.equal(Buffer.compare(bytes(target).subarray(0, 3 * 2 ** 20), expected), 0);

  const chain = new Chain();
  chain.reset(0, memory);
  chain.readable.add(target.address + 10, 300);
  chain.readable.add(target.address + 1000, 5000);
  chain.readable.skip(44);
  chain.readable.copyOut(source.address, 1000, 200);
  assert.deepEqual(
    bytes(source).slice(0, 1000),
    Uint8Array.from([...expected.subarray(254, 310), ...expected.subarray(1000, 1944)]),
  );
  chain.free();
  for (const block of [source, target]) block.free();
});
