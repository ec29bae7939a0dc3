import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QmpError } from '../../qemu/qmp/qmp-error.ts';
import type { VcpuRemoval } from './vcpu-removal.ts';
import { askForVcpus, dropRemovedVcpus, noteVcpuEjected } from './vcpu-release.ts';

/** A machine whose guest was asked to release vCPUs: for how long QEMU lacks each, in milliseconds. */
function detaching(missingFor: Readonly<Record<number, number | undefined>>) {
  const now = performance.now();
  const entries = Object.entries(missingFor).map(([vcpu, ms]): [number, VcpuRemoval] => [
    Number(vcpu),
    { asked: now - 5000, isAccepted: false, missingSince: ms === undefined ? undefined : now - ms },
  ]);
  return { detachingVcpus: new Map(entries) };
}

/** Event of a guest's _OST for vCPU 2. */
function ost(status: number, source = 3) {
  const info = { 'slot-type': 'CPU', slot: '2', source, status };
  return { event: 'ACPI_DEVICE_OST', data: { info } } as const;
}

test('a vCPU stays detaching as long as QEMU has it', () => {
  const machine = detaching({ 1: 5000 });
  dropRemovedVcpus(machine, () => true);
  assert.deepEqual([...machine.detachingVcpus.keys()], [1]);
  assert.equal(machine.detachingVcpus.get(1)?.missingSince, undefined);
});

test('a vCPU that QEMU removed counts as released after a second', () => {
  const machine = detaching({ 1: undefined, 2: 200, 3: 1500 });
  dropRemovedVcpus(machine, () => false);
  assert.deepEqual([...machine.detachingVcpus.keys()], [1, 2]);
});

test('the guest confirms an ejection after it has begun it', () => {
  const machine = detaching({ 1: undefined, 2: undefined });
  noteVcpuEjected(machine, ost(0, 1));
  noteVcpuEjected(machine, ost(0x84));
  assert.equal(machine.detachingVcpus.get(2)?.isAccepted, true);
  noteVcpuEjected(machine, ost(0));
  assert.deepEqual([...machine.detachingVcpus.keys()], [1]);
});

test('a vCPU whose ejection the guest refuses is no longer detaching', () => {
  const machine = detaching({ 2: undefined });
  noteVcpuEjected(machine, ost(0x83));
  assert.equal(machine.detachingVcpus.size, 0);
});

/** vCPUs that QEMU has, by number. */
const present = (...vcpus: readonly number[]) => vcpus.map((index) => ({ index, path: `/vcpu${index}` }));

test('a guest that has begun an ejection, or was just asked, is not asked again', async () => {
  const machine = detaching({ 1: undefined, 2: undefined });
  noteVcpuEjected(machine, ost(0x84));
  const asked: string[] = [];
  const request = async (path: string): Promise<void> => void asked.push(path);
  await askForVcpus(machine, present(3, 2, 1), request);
  assert.deepEqual(asked, ['/vcpu3', '/vcpu1']);
  await askForVcpus(machine, present(3, 2, 1), request);
  assert.deepEqual(asked, ['/vcpu3', '/vcpu1']);
});

test('a vCPU that the guest ejects before the request is removed, any other error is one', async () => {
  const machine = detaching({});
  const refusal = (errorClass: string) => new QmpError('device_del', 'no', { errorClass });
  await askForVcpus(machine, present(1), () => Promise.reject(refusal('DeviceNotFound')));
  assert.deepEqual([...machine.detachingVcpus.keys()], [1]);
  await assert.rejects(
    askForVcpus(machine, present(2), () => Promise.reject(refusal('GenericError'))),
    { errorClass: 'GenericError' },
  );
  assert.deepEqual([...machine.detachingVcpus.keys()], [1]);
});
