import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { deferred } from '../util/deferred.ts';
import { vmEnd, type VmEnd } from './vm-end.ts';
import type { VmmEnd } from './vmm-process.ts';

/** A VM whose events the test emits. */
function watched() {
  const events = new PassThrough();
  const vmm = deferred<VmmEnd>();
  let isShutDown = false;
  let end: VmEnd | undefined;
  void vmEnd({ events, isShutDown: async () => isShutDown, vmmEnded: vmm.promise }).then(
    (value) => (end = value),
  );
  return {
    /** Records events, in pieces that end anywhere. */
    emit: async (...all: readonly object[]) => {
      const text = all.map((event) => `${JSON.stringify(event, undefined, 2)}\n\n`).join('');
      for (let i = 0; i < text.length; i += 7) events.write(text.slice(i, i + 7));
      for (let i = 0; i < 5; i++) await turn();
    },
    shutDown: () => {
      isShutDown = true;
    },
    exit: async (value: VmmEnd) => {
      vmm.resolve(value);
      await turn();
    },
    end: () => end,
  };
}

const vm = (event: string, properties: object | null = null) => ({ source: 'vm', event, properties });

test('a reboot is no end', async () => {
  const one = watched();
  await one.emit(vm('shutdown'), vm('booting'), vm('booted'));
  assert.equal(one.end(), undefined);
});

test('a VM that another client shuts down or deletes has ended', async () => {
  for (const last of ['shutdown', 'deleted']) {
    const one = watched();
    one.shutDown();
    await one.emit(vm('paused'), vm(last));
    assert.deepEqual(one.end(), { code: 0, signal: null, reason: 'shutdown' });
  }
});

test('a QEMU that crashes is an end with exit code 1 and the reason', async () => {
  const one = watched();
  one.shutDown();
  await one.emit(vm('crashed', { reason: 'signal SIGKILL "é"' }), vm('shutdown'));
  assert.deepEqual(one.end(), { code: 1, signal: null, reason: 'crash', detail: 'signal SIGKILL "é"' });
});

test('the exit of the VMM has its exit code or signal, also if the VM is deleted first', async () => {
  for (const exit of [
    { code: 0, signal: null },
    { code: null, signal: 'SIGKILL' },
  ] as const) {
    const one = watched();
    one.shutDown();
    await one.emit(vm('shutdown'), vm('deleted'), { source: 'vmm', event: 'shutdown', properties: null });
    assert.equal(one.end(), undefined);
    await one.exit(exit);
    assert.deepEqual(one.end(), { ...exit, reason: 'exit' });
  }
});

const guest = (event: string) => ({ source: 'guest', event, properties: null });

test('the cause of an end is beside the members that are compared', async () => {
  const off = { code: 0, signal: null };
  for (const [events, exit, cause] of [
    [[], off, 'power-off'],
    [[guest('reset')], off, 'reset'],
    [[guest('panic')], { code: 1, signal: null }, 'panic'],
    [[guest('panic'), vm('booting')], off, 'power-off'],
    [[], { code: 1, signal: null }, 'crash'],
    [[], { code: null, signal: 'SIGKILL' }, 'killed'],
  ] as const) {
    const one = watched();
    await one.emit(...events);
    await one.exit(exit);
    assert.deepEqual(one.end(), { ...exit, reason: 'exit' });
    assert.equal(one.end()?.cause, cause);
  }
  for (const [reason, cause] of [
    ['signal SIGKILL', 'killed'],
    ['exit code 1', 'crash'],
  ] as const) {
    const one = watched();
    one.shutDown();
    await one.emit(vm('crashed', { reason }), vm('shutdown'));
    assert.equal(one.end()?.cause, cause);
  }
  const one = watched();
  one.shutDown();
  await one.emit(vm('shutdown'));
  assert.equal(one.end()?.cause, 'shutdown');
});
