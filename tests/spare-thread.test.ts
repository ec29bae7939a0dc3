// `--spare-thread`: a thread that waits for the devices of the next VM.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot, deleteVm } from './support/boot.ts';
import { restore, takeSnapshot } from './support/snapshots.ts';
import { REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { exchange, startEcho } from './support/vsock.ts';
import { until } from './support/wait.ts';

const ECHO_PORT = 16;

/** Starts a VMM with a spare thread, also where the tests run another program. */
function startWithSpare(): Promise<TestVmm> {
  return startVmm({ program: join(REPO, 'bin/cloud-hypervisor'), args: ['--spare-thread', '-v'] });
}

/** Returns how often a VMM has logged a text. */
function countOf(vmm: TestVmm, text: string): number {
  return vmm.output().split(text).length - 1;
}

const STARTED = 'the spare thread waits';
const ENDED = 'the spare thread has ended';

test('a spare thread serves the vsock of a VM that is restored, and another one follows', async () => {
  await using vmm = await startWithSpare();
  const socket = join(vmm.folder, 'vsock');
  using shell = await boot(vmm, { vsock: { cid: 5, socket } }, { tools: true });
  await startEcho(shell, ECHO_PORT);
  const snapshot = await takeSnapshot(vmm);
  for (let round = 0; round < 2; round++) {
    const started = countOf(vmm, STARTED);
    await deleteVm(vmm);
    await until('a spare thread waits', () => countOf(vmm, STARTED) > started);
    const taken = countOf(vmm, 'vsock-worker.cjs');
    using restored = await restore(vmm, snapshot);
    assert.equal(countOf(vmm, 'vsock-worker.cjs'), taken + 1);
    assert.match(await exchange(socket, `CONNECT ${ECHO_PORT}\nhello`), /^OK \d+\nhello$/);
    assert.equal(await restored.run('echo $((6 * 7))'), '42');
  }
});

test('a spare thread serves the directory of a VM that boots', async () => {
  await using vmm = await startWithSpare();
  await until('a spare thread waits', () => countOf(vmm, STARTED) === 1);
  const directory = join(vmm.folder, 'share');
  mkdirSync(directory);
  writeFileSync(join(directory, 'file'), 'of the host');
  using shell = await boot(vmm, { fs: [{ tag: 'src', directory }] });
  assert.equal(countOf(vmm, 'fs-worker.cjs'), 1);
  assert.equal(await shell.run('mkdir /s && mount -t virtiofs src /s && cat /s/file'), 'of the host');
});

test('a spare thread ends where the VM has no use for it, and with the VMM', async () => {
  await using vmm = await startWithSpare();
  await until('a spare thread waits', () => countOf(vmm, STARTED) === 1);
  using shell = await boot(vmm);
  await until('it has ended', () => countOf(vmm, ENDED) === 1);
  assert.equal(await shell.run('echo $((6 * 7))'), '42');
  await deleteVm(vmm);
  await until('the next one waits', () => countOf(vmm, STARTED) === 2);
  assertStatus(await vmm.put('vmm.shutdown'), 204);
  assert.equal(await vmm.exited, 0);
});
