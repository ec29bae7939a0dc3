// The guest's clock stops while the VM is paused or in a snapshot; its real-time clock has the host's time.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import type { Shell } from './support/shell.ts';
import { restore } from './support/snapshots.ts';
import { makeFolder, startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** Duration of the pause, in seconds. */
const STILL_S = 12;

/** Largest difference on a busy machine, with a clock of whole seconds, in seconds. */
const NEAR_S = 4;

const hostTime = (): number => Date.now() / 1000;

/** Returns the lag of the guest's clock behind the host's, in seconds. */
async function lag(shell: Shell): Promise<number> {
  const before = hostTime();
  const guest = Number(await shell.run('date +%s'));
  return (before + hostTime()) / 2 - guest;
}

async function pass(seconds: number): Promise<void> {
  const end = hostTime() + seconds;
  await until('time has passed', () => hostTime() > end);
}

test('after a pause or a restore the guest’s clock is behind; hwclock -s sets it', async () => {
  const folder = makeFolder();
  const snapshot = join(folder, 'snapshot');
  mkdirSync(snapshot);
  try {
    await using vmm = await startVmm();
    using shell = await boot(vmm);
    const first = await lag(shell);
    assertStatus(await vmm.put('vm.pause'), 204);
    assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${snapshot}` }), 204);
    await pass(STILL_S);
    assertStatus(await vmm.put('vm.resume'), 204);
    const paused = await lag(shell);
    await shell.run('hwclock -s -u');
    const set = await lag(shell);
    assertStatus(await vmm.put('vm.delete'), 204);

    using clone = await restore(vmm, snapshot);
    const restored = await lag(clone);
    await clone.run('hwclock -s -u');
    const cured = await lag(clone);
    const all = `lags: ${JSON.stringify({ first, paused, set, restored, cured })}`;
    assert.ok(paused - first > STILL_S - NEAR_S, all);
    assert.ok(Math.abs(set) < NEAR_S, all);
    assert.ok(restored - first > STILL_S - NEAR_S, all);
    assert.ok(Math.abs(cured) < NEAR_S, all);
    console.log(all);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
