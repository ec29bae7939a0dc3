import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { assertStatus, messagesOf } from './answers.ts';
import { childrenOf } from './processes.ts';
import { copySnapshot, type Damage } from './snapshot-mutations.ts';
import type { TestVmm } from './vmm.ts';

/** Time limit of an answer on a busy host, in milliseconds: QEMU is ended long before. */
const DEADLINE_MS = 90_000;
/** Subjects of an error other than the snapshot: a member of the configuration, or a device. */
const PART = /\b(config|cpus|disks?|pmem|net|rng|serial|console|kernel|initramfs|memory|vsock|payload)\b/;
/** Texts that only a fault of the VMM has. */
const OURS = /TypeError|RangeError|ReferenceError|is not a function|Cannot read|\[object |node:internal/;

/**
 * Restores a snapshot with each damage by one VMM: each gets an answer in time that names the fault, and leaves no resource.
 * Returns how many were restored all the same.
 */
export async function restoreDamaged(
  vmm: TestVmm,
  snapshot: string,
  damages: readonly Damage[],
): Promise<number> {
  const folder = join(vmm.folder, 'damaged, "é"');
  const before = readdirSync(vmm.folder);
  let restored = 0;
  for (const [i, damage] of damages.entries()) {
    copySnapshot(snapshot, folder);
    damage.apply(folder);
    const began = performance.now();
    const resume = i % 2 === 0;
    const answer = await vmm.put('vm.restore', { source_url: `file://${folder}`, resume });
    const took = performance.now() - began;
    const text = JSON.stringify(answer.json) ?? '';
    const told = `${damage.name}: ${answer.status} ${text.slice(0, 1000)} after ${took} ms`;
    assert.ok(took < DEADLINE_MS, told);
    if (answer.status === 204) restored++;
    else {
      assert.equal(answer.status, 500, told);
      assert.ok(text.length < 10_000, told);
      assert.ok(messagesOf(answer).join(': ').includes(folder) || PART.test(text), told);
      assert.doesNotMatch(text, OURS, damage.name);
    }
    // a restored guest may have crashed its machine since: its VM is in state Shutdown
    if ((await vmm.get('vm.info')).status === 200) assertStatus(await vmm.put('vm.delete'), 204);
    assert.deepEqual(childrenOf(vmm.pid), [], told);
    assert.deepEqual(
      readdirSync(vmm.folder).filter((name) => !folder.endsWith(`/${name}`)),
      before,
      told,
    );
  }
  assert.doesNotMatch(vmm.output(), OURS);
  return restored;
}
