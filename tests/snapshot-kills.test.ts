// Kills of VMM and QEMU, and a full disk, during snapshots: no complete snapshot is lost, no incomplete one is restored.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { childrenOf, isAlive, qemuOf } from './support/processes.ts';
import { KILL_SEED, momentsIn, randomFrom } from './support/random.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { stateOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

function fingerprint(folder: string): string[] {
  return readdirSync(folder).map((name) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex'),
  );
}

/** Status and text of an answer; no status where the VMM exited before. */
function answerOf(vmm: TestVmm, path: string, body: unknown): Promise<{ status?: number; text: string }> {
  return vmm.put(path, body).then(
    ({ status, json }) => ({ status, text: JSON.stringify(json) }),
    () => ({ text: '' }),
  );
}

test('kills and a full disk leave good snapshots whole, and no damaged one is restored', async (context) => {
  await using source = await startVmm();
  using shell = await boot(source);
  const good = await save(source);
  const before = fingerprint(good);

  await context.test('a full file system: what was written is gone, the VM is as it was', async () => {
    const small = join(source.folder, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', small]);
    try {
      const answer = await source.put('vm.snapshot', { destination_url: `file://${small}` });
      assertRefused(answer, 500, /no space left on device/);
      assert.deepEqual(readdirSync(small), []);
    } finally {
      execFileSync('umount', [small]);
    }
    assert.equal(await stateOf(source), 'Paused');
    assertStatus(await source.put('vm.resume'), 204);
    assert.equal(await shell.run('echo alive'), 'alive');
  });

  await suddenDeaths(context, { good, deaths: 20, overrides: () => ({}) });
  assert.deepEqual(fingerprint(good), before);
});

test('kills while a vsock device is detached for a snapshot', async (context) => {
  await using source = await startVmm();
  const socketIn = ({ folder }: TestVmm): string => join(folder, 'v.sock');
  using _shell = await boot(source, { vsock: { cid: 5, socket: socketIn(source) } });
  const good = await save(source);
  const before = fingerprint(good);
  await suddenDeaths(context, {
    good,
    deaths: 10,
    overrides: (vmm) => ({ vsock: { cid: 6, socket: socketIn(vmm) } }),
  });
  assert.deepEqual(fingerprint(good), before);
});

/** Pauses a VM and writes a snapshot of it. @returns its folder */
async function save(vmm: TestVmm): Promise<string> {
  const folder = join(vmm.folder, 'good');
  await takeSnapshot(vmm, folder);
  return folder;
}

/** A snapshot and the VMs that are made of it. */
interface Origin {
  /** folder of a complete snapshot */
  readonly good: string;
  /** kills during a restore, and as many during a snapshot: VMM and QEMU alternate */
  readonly deaths: number;
  /** overrides of each clone */
  readonly overrides: (vmm: TestVmm) => object;
}

async function suddenDeaths(context: TestContext, origin: Origin): Promise<void> {
  const random = randomFrom(KILL_SEED);
  const durations = await timesOf(origin);
  const names = ['QEMU', 'VMM'] as const;
  for (const [i, moment] of momentsIn(durations.restore, origin.deaths, random).entries()) {
    const whom = names[i % 2] ?? 'VMM';
    await context.test(`${whom} is killed ${moment} ms into a restore (seed ${KILL_SEED})`, () =>
      killInRestore(origin, moment, whom),
    );
  }
  for (const [i, moment] of momentsIn(durations.snapshot, origin.deaths, random).entries()) {
    const whom = names[i % 2] ?? 'VMM';
    await context.test(`${whom} is killed ${moment} ms into a snapshot (seed ${KILL_SEED})`, () =>
      killInSnapshot(origin, moment, whom),
    );
  }
}

function requestFor({ good, overrides }: Origin, vmm: TestVmm): object {
  return { source_url: `file://${good}`, overrides: overrides(vmm) };
}

/** Durations of both on this host, in milliseconds. */
async function timesOf(origin: Origin): Promise<{ restore: number; snapshot: number }> {
  await using vmm = await startVmm();
  const begun = performance.now();
  assertStatus(await vmm.put('vm.restore', requestFor(origin, vmm)), 204);
  const restored = performance.now();
  const target = join(vmm.folder, 'target');
  mkdirSync(target);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${target}` }), 204);
  return { restore: restored - begun, snapshot: performance.now() - restored };
}

async function killInRestore(origin: Origin, moment: number, whom: 'QEMU' | 'VMM'): Promise<void> {
  await using vmm = await startVmm();
  const answer = answerOf(vmm, 'vm.restore', requestFor(origin, vmm));
  await delay(moment);
  const [qemu] = childrenOf(vmm.pid);
  if (whom === 'VMM') vmm.kill('SIGKILL');
  else if (qemu !== undefined) process.kill(qemu.pid, 'SIGKILL');
  const { status } = await answer;
  if (qemu !== undefined && (whom === 'VMM' || status === 500)) {
    await until('QEMU is gone', () => !isAlive(qemu.pid));
  }
  // after a failed restore no resource is left, and the VMM can be used
  if (whom === 'QEMU' && status === 500) assertStatus(await vmm.put('vm.create', guestConfig()), 204);
}

async function killInSnapshot(origin: Origin, moment: number, whom: 'QEMU' | 'VMM'): Promise<void> {
  await using vmm = await startVmm();
  const target = join(vmm.folder, 'target');
  mkdirSync(target);
  assertStatus(await vmm.put('vm.restore', requestFor(origin, vmm)), 204);
  const qemu = qemuOf(vmm.pid);
  const answer = answerOf(vmm, 'vm.snapshot', { destination_url: `file://${target}` });
  await delay(moment);
  process.kill(whom === 'VMM' ? vmm.pid : qemu, 'SIGKILL');
  const { status, text } = await answer;
  await until('QEMU is gone', () => !isAlive(qemu));
  if (status === 500) assert.match(text, /QEMU ended unexpectedly \(signal SIGKILL\)|The VM is /);
  const isWhole = readdirSync(target).includes('manifest.json');
  if (status === 204) assert.ok(isWhole);
  if (status === 500) assert.deepEqual(readdirSync(target), []);
  await using other = await startVmm();
  const restored = await other.put('vm.restore', requestFor({ ...origin, good: target }, other));
  assertStatus(restored, isWhole ? 204 : 500);
}
