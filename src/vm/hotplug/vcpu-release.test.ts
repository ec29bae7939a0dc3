import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dropRemovedVcpus } from './vcpu-release.ts';

/** A machine whose guest was asked to release vCPUs: since when QEMU lacks each, in milliseconds. */
function detaching(missingFor: Readonly<Record<number, number | undefined>>) {
  const now = performance.now();
  const entries = Object.entries(missingFor).map(([vcpu, ms]): [number, number | undefined] => [
    Number(vcpu),
    ms === undefined ? undefined : now - ms,
  ]);
  return { detachingVcpus: new Map(entries) };
}

test('a vCPU stays detaching as long as QEMU has it', () => {
  const machine = detaching({ 1: 5000 });
  dropRemovedVcpus(machine, () => true);
  assert.deepEqual([...machine.detachingVcpus], [[1, undefined]]);
});

test('a vCPU that QEMU removed counts as released after a second', () => {
  const machine = detaching({ 1: undefined, 2: 200, 3: 1500 });
  dropRemovedVcpus(machine, () => false);
  assert.deepEqual([...machine.detachingVcpus.keys()], [1, 2]);
});
