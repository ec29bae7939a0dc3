// Snapshots with damaged files: the answer names the fault, and the VMM continues to serve requests. tests/slow has more of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restoreDamaged } from './support/damaged-snapshots.ts';
import { randomFrom } from './support/random.ts';
import { damagesOf } from './support/snapshot-mutations.ts';
import { restore, snapshotWithDevices } from './support/snapshots.ts';
import { startVmm } from './support/vmm.ts';

const COUNT = 88;
const SEED = Number(process.env['NEPHOS_FUZZ_SEED'] ?? '20261127');

test(`${COUNT} damaged snapshots, then a whole one (seed ${SEED})`, async () => {
  await using vmm = await startVmm();
  const snapshot = await snapshotWithDevices(vmm);
  const restored = await restoreDamaged(vmm, snapshot, damagesOf(snapshot, COUNT, randomFrom(SEED)));
  assert.ok(restored > 0 && restored < COUNT / 2, `${restored} of ${COUNT} were restored`);
  using shell = await restore(vmm, snapshot);
  assert.equal(await shell.run('cat /kept'), 'kept');
});
