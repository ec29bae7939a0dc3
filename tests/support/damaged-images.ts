import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Answer, assertStatus, messagesOf } from './answers.ts';
import { guestConfig } from './guest.ts';
import { type Mutation, writeMutation } from './image-mutations.ts';
import { childrenOf } from './processes.ts';
import type { TestVmm } from './vmm.ts';

/** Time limit of an answer on a busy host, in milliseconds: QEMU is ended long before. */
const DEADLINE_MS = 60_000;

/** Boots a VM of the disks; after a refusal the VM is deleted. */
export async function bootDisks(
  vmm: TestVmm,
  disks: readonly Readonly<Record<string, unknown>>[],
): Promise<Answer> {
  assertStatus(await vmm.put('vm.create', guestConfig({ disks })), 204);
  const answer = await vmm.put('vm.boot');
  if (answer.status !== 204) assertStatus(await vmm.put('vm.delete'), 204);
  return answer;
}

/**
 * Boots a VM of each damaged image, which is written to `path`, by one VMM: each gets an answer in time that names the file,
 * and leaves no resource. Returns how many were booted.
 */
export async function bootDamaged(
  vmm: TestVmm,
  path: string,
  mutations: readonly Mutation[],
): Promise<number> {
  let booted = 0;
  for (const mutation of mutations) {
    writeMutation(path, mutation);
    const before = readdirSync(dirname(path));
    const began = performance.now();
    const answer = await bootDisks(vmm, [{ path }]);
    const took = performance.now() - began;
    const told = `${mutation.name}: ${answer.status} ${JSON.stringify(answer.json)} after ${took} ms`;
    assert.ok(took < DEADLINE_MS, told);
    assert.ok([204, 500].includes(answer.status), told);
    if (answer.status === 204) assertStatus(await vmm.put('vm.delete'), 204);
    else assert.ok(messagesOf(answer).join(': ').includes(path), told);
    assert.deepEqual(childrenOf(vmm.pid), [], mutation.name);
    assert.deepEqual(readdirSync(dirname(path)), before, mutation.name);
    booted += answer.status === 204 ? 1 : 0;
  }
  return booted;
}
