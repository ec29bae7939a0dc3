import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BootedMachine } from '../vm.ts';
import { beginStart, type MachineStart } from './machine-start.ts';

/** A start, the record of what it releases, and the controller that kills it. */
function begin() {
  const released: string[] = [];
  const kill = new AbortController();
  const start = beginStart({ waits: new AbortController().signal, kill: kill.signal });
  const resource = (name: string): Disposable => ({ [Symbol.dispose]: () => void released.push(name) });
  const qemu = { quit: async () => void released.push('QEMU') };
  return { start, released, kill, resource, qemu };
}

/** A machine as far as a start looks at it. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const LIVE = {} as unknown as BootedMachine;

async function makeAll({ start, resource, qemu }: ReturnType<typeof begin>): Promise<MachineStart> {
  start.own(resource('consoles'));
  start.hold(resource('kernel file'));
  start.ownQemu(qemu);
  return start;
}

test('a start that fails closes its files, ends QEMU and releases the rest, the newest first', async () => {
  const parts = begin();
  const start = await makeAll(parts);
  await start[Symbol.asyncDispose]();
  assert.deepEqual(parts.released, ['kernel file', 'QEMU', 'consoles']);
});

test('a start that is complete closes its files only', async () => {
  const parts = begin();
  const start = await makeAll(parts);
  assert.equal(start.complete(LIVE), LIVE);
  await start[Symbol.asyncDispose]();
  assert.deepEqual(parts.released, ['kernel file']);
});

test('a killed start ends QEMU at once and cannot be completed', async () => {
  const parts = begin();
  const start = await makeAll(parts);
  parts.kill.abort();
  assert.deepEqual(parts.released, ['QEMU']);
  assert.throws(() => start.checkNotAborted(), { code: 'failed' });
  assert.throws(() => start.complete(LIVE), { code: 'failed' });
});

test('a kill after the start is no longer its matter', async () => {
  const parts = begin();
  const start = await makeAll(parts);
  start.complete(LIVE);
  await start[Symbol.asyncDispose]();
  parts.kill.abort();
  assert.deepEqual(parts.released, ['kernel file']);
});
