// A QEMU that does not answer: stopped, or never ready. It delays neither the API nor vm.delete nor the exit of the VMM.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Answer, assertStatus } from './support/answers.ts';
import { createAndBoot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { childrenOf, commands, isAlive, qemuOf } from './support/processes.ts';
import { stateOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until, within } from './support/wait.ts';

/** Time limit of a client for vm.delete and vm.shutdown, with an addition for a busy host. */
const END_MS = 5000 + 3000;
/** Time limit of answers that wait for nothing. */
const PROMPT_MS = 3000;

/** Boots without waiting for the guest, and stops QEMU. @returns its pid */
async function bootAndStop(vmm: TestVmm, more: Readonly<Record<string, unknown>> = {}): Promise<number> {
  await createAndBoot(vmm, guestConfig(more));
  const pid = qemuOf(vmm.pid);
  process.kill(pid, 'SIGSTOP');
  return pid;
}

/** Time limit of vm.info without an answer of QEMU, in milliseconds. */
const INFO_MS = 50;

/** An answer; undefined where the VMM has exited before. */
const answerOf = (answer: Promise<Answer>): Promise<Answer | undefined> => answer.catch(() => undefined);

/** Duration of the silence, in seconds; it identifies the sleep process. */
const SILENCE = 100_000 + (process.pid % 10_000);

/** Returns true if the program in place of QEMU runs, as a child of any process. */
const isSilenceThere = (): boolean => commands().some((command) => command === `sleep ${SILENCE}`);

/** Writes a program in place of QEMU that has no output, and a child. @returns the environment that names it */
function silentQemu(folder: string): NodeJS.ProcessEnv {
  const path = join(folder, 'qemu "silent" ü');
  writeFileSync(path, `#!/bin/sh\nsleep ${SILENCE}\n:\n`);
  chmodSync(path, 0o755);
  return { NEPHOS_QEMU: path };
}

/** Waits until neither QEMU nor the program in its place runs. */
async function nothingRuns(vmm: TestVmm): Promise<void> {
  assert.deepEqual(childrenOf(vmm.pid), []);
  await until('its child is gone', () => !isSilenceThere());
}

test('a QEMU that is stopped', async (t) => {
  await using vmm = await startVmm();
  const image = join(vmm.folder, 'disk.raw');
  makeImage(image, 2 ** 20);
  const snapshot = join(vmm.folder, 'snapshot');
  mkdirSync(snapshot);

  await t.test('vmm.ping, vm.info and vm.counters answer, again and again', async () => {
    await bootAndStop(vmm, { disks: [{ path: image }], balloon: { size: 0 } });
    const infos: number[] = [];
    for (let i = 0; i < 5; i++) {
      for (const path of ['vmm.ping', 'vm.info', 'vm.counters']) {
        const started = performance.now();
        await within(PROMPT_MS, path, async () => assertStatus(await vmm.get(path), 200));
        if (path === 'vm.info') infos.push(performance.now() - started);
      }
    }
    // the other processes may have waited for a processor
    assert.ok(Math.min(...infos) < INFO_MS, `vm.info took ${infos.map(Math.round).join(', ')} ms`);
    assert.equal(await stateOf(vmm), 'Running');
    await within(END_MS, 'vm.delete', async () => assertStatus(await vmm.put('vm.delete'), 204));
  });

  const operations: readonly (readonly [name: string, body?: unknown])[] = [
    ['vm.pause'],
    ['vm.add-disk', { path: image }],
    ['vm.resize', { desired_balloon: 0 }],
    ['vm.coredump', { destination_url: `file://${join(vmm.folder, 'core')}` }],
    ['vm.send-migration', { destination_url: 'unix:/no/such' }],
    ['vm.nmi'],
  ];
  for (const [name, body] of operations) {
    await t.test(`vm.shutdown while ${name} waits, and more behind it`, async () => {
      const pid = await bootAndStop(vmm, { balloon: { size: 0 } });
      const said = vmm.output().length;
      const waiting = vmm.put(name, body);
      await until(`${name} is under way`, () => vmm.output().slice(said).includes(`-- ${name}`));
      const behind = vmm.put('vm.resize', { desired_vcpus: 1 });
      await within(END_MS, 'vm.shutdown', async () => assertStatus(await vmm.put('vm.shutdown'), 204));
      assertStatus(await waiting, 500);
      // the answer may have arrived after vm.shutdown
      assert.ok([405, 500].includes((await behind).status));
      assert.ok(!isAlive(pid));
      assert.equal(await stateOf(vmm), 'Shutdown');
      assertStatus(await vmm.put('vm.boot'), 204);
      assertStatus(await vmm.put('vm.delete'), 204);
    });
  }

  await t.test('a snapshot of a paused VM leaves no file behind', async () => {
    await createAndBoot(vmm, guestConfig());
    assertStatus(await vmm.put('vm.pause'), 204);
    process.kill(qemuOf(vmm.pid), 'SIGSTOP');
    const said = vmm.output().length;
    const waiting = vmm.put('vm.snapshot', { destination_url: `file://${snapshot}` });
    await until('it is under way', () => vmm.output().slice(said).includes('-- vm.snapshot'));
    await within(END_MS, 'vm.delete', async () => assertStatus(await vmm.put('vm.delete'), 204));
    assertStatus(await waiting, 500);
    assert.deepEqual(readdirSync(snapshot), []);
    assert.deepEqual(readdirSync(vmm.folder).toSorted(), ['api.sock', 'disk.raw', 'snapshot']);
  });

  await t.test('vm.reboot makes a new machine', async () => {
    const pid = await bootAndStop(vmm);
    await within(END_MS + 10_000, 'vm.reboot', async () => assertStatus(await vmm.put('vm.reboot'), 204));
    assert.ok(!isAlive(pid));
    assert.equal(await stateOf(vmm), 'Running');
    assertStatus(await vmm.put('vm.delete'), 204);
  });
});

test('a stopped QEMU delays neither vmm.shutdown nor SIGTERM nor SIGINT', async () => {
  const ends: readonly ((vmm: TestVmm) => Promise<unknown>)[] = [
    (vmm) => vmm.put('vmm.shutdown').then((answer) => assertStatus(answer, 204)),
    async (vmm) => vmm.kill('SIGTERM'),
    async (vmm) => vmm.kill('SIGINT'),
  ];
  for (const end of ends) {
    await using vmm = await startVmm();
    const pid = await bootAndStop(vmm);
    const pause = answerOf(vmm.put('vm.pause'));
    await until('it is under way', () => vmm.output().includes('-- vm.pause'));
    await within(END_MS, 'the end', async () => {
      await end(vmm);
      assert.equal(await vmm.exited, 0);
    });
    assert.equal((await pause)?.status ?? 500, 500);
    assert.ok(!isAlive(pid));
    assert.ok(!existsSync(vmm.socket));
  }
});

test('a boot whose QEMU is never ready', async (t) => {
  const folder = makeFolder();
  const env = silentQemu(folder);
  await using vmm = await startVmm({ env });
  const booting = async (): Promise<Promise<Answer>[]> => {
    assertStatus(await vmm.put('vm.create', guestConfig()), 204);
    const answer = vmm.put('vm.boot');
    await until('QEMU was started', isSilenceThere);
    return [answer];
  };
  await t.test('by vm.shutdown, which the VM is not booted for, and vm.delete', async () => {
    for (const [name, status] of [
      ['vm.shutdown', 405],
      ['vm.delete', 204],
    ] as const) {
      const [boot] = await booting();
      await within(END_MS, name, async () => assertStatus(await vmm.put(name), status));
      const answer = await boot;
      assert.deepEqual(answer?.json, ['vm.boot failed', 'QEMU could not be started: the start was ended']);
      await nothingRuns(vmm);
      if (status === 405) assertStatus(await vmm.put('vm.delete'), 204);
    }
  });
  await t.test('by itself, saying so', async () => {
    const [boot] = await booting();
    const answer = await boot;
    assert.match(JSON.stringify(answer?.json), /QEMU was not ready within 30 s/);
    await nothingRuns(vmm);
    assert.equal(await stateOf(vmm), 'Created');
    assertStatus(await vmm.put('vm.delete'), 204);
  });
  await t.test('by SIGTERM, with exit code 0', async () => {
    const [boot] = await booting();
    void boot?.catch(() => undefined);
    vmm.kill('SIGTERM');
    await within(END_MS, 'the end', async () => assert.equal(await vmm.exited, 0));
    await nothingRuns(vmm);
  });
});

test('a restore whose QEMU is never ready is ended by vm.delete and vmm.shutdown', async () => {
  const folder = makeFolder();
  const target = join(folder, 'snapshot');
  mkdirSync(target);
  await using source = await startVmm();
  await createAndBoot(source, guestConfig());
  assertStatus(await source.put('vm.pause'), 204);
  assertStatus(await source.put('vm.snapshot', { destination_url: `file://${target}` }), 204);

  await using vmm = await startVmm({ env: silentQemu(folder) });
  for (const [name, status] of [
    ['vm.delete', 404],
    ['vmm.shutdown', 204],
  ] as const) {
    const answer = answerOf(vmm.put('vm.restore', { source_url: `file://${target}` }));
    await until('QEMU was started', isSilenceThere);
    await within(END_MS, name, async () => assertStatus(await vmm.put(name), status));
    assert.equal((await answer)?.status ?? 500, 500);
    await nothingRuns(vmm);
  }
  assert.equal(await vmm.exited, 0);
});

test('SIGTERM ends a VM of the command line whose QEMU is never ready, with exit code 0', async () => {
  const folder = makeFolder();
  const { kernel, initramfs } = guestConfig() as Record<string, { path: string }>;
  const args = ['--kernel', kernel?.path ?? '', '--initramfs', initramfs?.path ?? '', '--serial', 'null'];
  await using vmm = await startVmm({ api: false, args, env: silentQemu(folder) });
  await until('QEMU was started', isSilenceThere);
  vmm.kill('SIGTERM');
  await within(END_MS, 'the end', async () => assert.equal(await vmm.exited, 0));
});
