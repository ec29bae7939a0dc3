// What happens to snapshots when VMM or QEMU is killed, or the disk is full: none is lost, none that is not whole is taken.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { guestConfig } from './support/guest.ts';
import { childrenOf, isAlive, qemuOf } from './support/host.ts';
import { openShell, ptyOf } from './support/shell.ts';
import { stateOf } from './support/info.ts';
import { until } from './support/until.ts';
import { assertStatus, startVmm, type TestVmm } from './support/vmm.ts';

/** Moments of death, in milliseconds: they cover what a snapshot or a restore takes here, and a little more. What waits is the test. */
const MOMENTS = [5, 20, 40, 70, 110, 160];

function fingerprint(folder: string): string[] {
  return readdirSync(folder).map((name) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex'),
  );
}

/** The answer's status and text; no status where the VMM did not live to give one. */
function answerOf(vmm: TestVmm, path: string, body: unknown): Promise<{ status?: number; text: string }> {
  return vmm.put(path, body).then(
    ({ status, json }) => ({ status, text: JSON.stringify(json) }),
    () => ({ text: '' }),
  );
}

test('a full disk and sudden deaths cost no good snapshot, and make no bad one', async (context) => {
  await using source = await startVmm();
  const good = join(source.folder, 'good');
  const url = `file://${good}`;
  mkdirSync(good);
  assertStatus(await source.put('vm.create', guestConfig()), 204);
  assertStatus(await source.put('vm.boot'), 204);
  using shell = openShell(await ptyOf(source));
  await shell.login();
  assertStatus(await source.put('vm.pause'), 204);
  assertStatus(await source.put('vm.snapshot', { destination_url: url }), 204);
  const before = fingerprint(good);

  await context.test('a full file system: what was written is gone, the VM is as it was', async () => {
    const small = join(source.folder, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', small]);
    try {
      const answer = await source.put('vm.snapshot', { destination_url: `file://${small}` });
      assertStatus(answer, 500);
      assert.match(JSON.stringify(answer.json), /no space left on device/);
      assert.deepEqual(readdirSync(small), []);
    } finally {
      execFileSync('umount', [small]);
    }
    assert.equal(await stateOf(source), 'Paused');
    assertStatus(await source.put('vm.resume'), 204);
    assert.equal(await shell.run('echo alive'), 'alive');
  });

  for (const moment of MOMENTS) {
    await context.test(`QEMU, or the VMM, is killed ${moment} ms into a restore`, async () => {
      for (const whom of ['QEMU', 'VMM']) {
        await using vmm = await startVmm();
        const answer = answerOf(vmm, 'vm.restore', { source_url: url });
        await delay(moment);
        const [engine] = childrenOf(vmm.pid);
        if (whom === 'VMM') vmm.kill('SIGKILL');
        else if (engine !== undefined) process.kill(engine.pid, 'SIGKILL');
        await answer;
        if (engine !== undefined) await until('QEMU is gone', () => !isAlive(engine.pid));
      }
    });
    await context.test(`QEMU, or the VMM, is killed ${moment} ms into a snapshot`, async () => {
      for (const whom of ['QEMU', 'VMM']) {
        await using vmm = await startVmm();
        const target = join(vmm.folder, 'target');
        mkdirSync(target);
        assertStatus(await vmm.put('vm.restore', { source_url: url }), 204);
        const answer = answerOf(vmm, 'vm.snapshot', { destination_url: `file://${target}` });
        await delay(moment);
        process.kill(whom === 'VMM' ? vmm.pid : qemuOf(vmm.pid), 'SIGKILL');
        const { status, text } = await answer;
        if (status === 500) assert.match(text, /QEMU ended unexpectedly \(signal SIGKILL\)|The VM is /);
        const isWhole = readdirSync(target).includes('manifest.json');
        if (status === 204) assert.ok(isWhole);
        if (status === 500) assert.deepEqual(readdirSync(target), []);
        await using other = await startVmm();
        const restored = await other.put('vm.restore', { source_url: `file://${target}` });
        assertStatus(restored, isWhole ? 204 : 500);
      }
    });
  }
  assert.deepEqual(fingerprint(good), before);
});
