// VmmPool of the SDK: VMMs that are started in advance. One guest, and clones of it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LaunchError, RequestError, VirtualMachine, VmmPool } from 'nephos';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { childrenOf, isAlive } from './support/processes.ts';
import { login, run } from './support/sdk-guest.ts';
import { makeFolder } from './support/vmm.ts';
import { until } from './support/wait.ts';

const GUEST = {
  cpus: { boot_vcpus: 1, max_vcpus: 1 },
  memory: { size: 2 ** 28 },
  kernel: { path: KERNEL },
  initramfs: { path: INITRAMFS },
  cmdline: { args: 'console=ttyS0' },
};

/** Process ids of the VMMs of a process. */
function vmmsOf(pid: number): number[] {
  return childrenOf(pid)
    .filter(({ command }) => command.includes('cloud-hypervisor'))
    .map((child) => child.pid);
}

test('VMs start in VMMs of a pool, which are replaced', async (t) => {
  const folder = makeFolder();
  const snapshot = join(folder, 'snapshot');
  try {
    const pool = await VmmPool.start({ size: 2, refillDelayMs: 200 });
    await using _pool = pool;
    const first = vmmsOf(process.pid);
    assert.deepEqual([first.length, pool.ready], [2, 2]);

    await t.test('a VM that is launched', async () => {
      await using vm = await VirtualMachine.launch(GUEST, { pool });
      assert.ok(first.includes(vm.pid));
      await login(vm);
      await run(vm, 'x=42');
      await vm.snapshot(snapshot, { resume: true });
      const [fork] = await vm.fork(1, { pool });
      await using clone = fork;
      assert.ok(clone !== undefined && clone.pid !== vm.pid);
      assert.equal(await run(clone, 'echo $x'), '42');
    });

    await t.test('clones of a snapshot, more than there are VMMs, each in one of its own', async () => {
      await until('the pool is full', () => pool.ready === 2);
      const clones = await Promise.all([1, 2, 3].map(() => pool.restore(snapshot)));
      try {
        assert.equal(new Set(clones.map(({ pid }) => pid)).size, 3);
        for (const clone of clones) assert.equal(await run(clone, 'echo $x'), '42');
      } finally {
        await Promise.all(clones.map((clone) => clone[Symbol.asyncDispose]()));
      }
    });

    await t.test('a restore that fails uses one up, and leaves none behind', async () => {
      await until('the pool is full', () => pool.ready === 2);
      const before = vmmsOf(process.pid);
      await assert.rejects(pool.restore(join(folder, 'none')), RequestError);
      assert.equal(vmmsOf(process.pid).length, before.length - 1);
      const restored = pool.restore(snapshot, { signal: AbortSignal.abort() });
      await assert.rejects(restored, { name: 'LaunchError', message: 'the start was aborted' });
      await until('the pool is full', () => pool.ready === 2);
    });

    await t.test('a VMM that was taken is its caller’s', async () => {
      const vmm = await pool.take();
      await using _vmm = vmm;
      const { build_version: version } = await vmm.client.call('vmm.ping');
      assert.match(version ?? '', /\d/);
    });

    await t.test('a VMM that is killed is replaced', async () => {
      await until('the pool is full', () => pool.ready === 2);
      const [killed = 0] = vmmsOf(process.pid);
      process.kill(killed, 'SIGKILL');
      await until('the loss is seen', () => pool.failure !== undefined);
      await until('it is replaced', () => pool.ready === 2 && pool.failure === undefined);
      assert.ok(!vmmsOf(process.pid).includes(killed));
    });

    await t.test('an option that the pool has decided is refused', async () => {
      await assert.rejects(
        VirtualMachine.restore(snapshot, { pool, args: ['-v'] }),
        /^LaunchError: args: not/,
      );
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
  assert.deepEqual(vmmsOf(process.pid), []);
});

test('a pool that cannot start, or is aborted, leaves nothing', async () => {
  const folder = makeFolder();
  const executable = join(folder, 'fails');
  writeFileSync(executable, '#!/bin/sh\necho broken >&2; exit 3\n', { mode: 0o700 });
  await assert.rejects(VmmPool.start({ size: 2, executable }), /broken/);
  const aborting = VmmPool.start({ size: 2, signal: AbortSignal.timeout(30) });
  await assert.rejects(aborting, LaunchError);
  await assert.rejects(VmmPool.start({ size: -1 }), RangeError);
  assert.deepEqual(vmmsOf(process.pid), []);
  rmSync(folder, { recursive: true });
});

/** Starts a pool of two VMMs, prints `ready`, and continues or exits. */
const OWNER = (after: string): string => `
  import { VmmPool } from 'nephos';
  const pool = await VmmPool.start({ size: 2 });
  console.log('ready');
  ${after}
`;

test('VMMs and sockets of a pool end with its process, by SIGKILL and by process.exit()', async () => {
  for (const after of [
    'setInterval(() => undefined, 1000);',
    'process.stdin.once("data", () => process.exit(0));',
  ]) {
    const folder = makeFolder();
    const owner = spawn(process.execPath, ['--input-type=module', '-e', OWNER(after)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, TMPDIR: folder },
    });
    await once(owner.stdout, 'data');
    const vmms = vmmsOf(owner.pid ?? 0);
    assert.equal(vmms.length, 2);
    if (after.startsWith('process')) owner.stdin.write('x');
    else owner.kill('SIGKILL');
    await once(owner, 'exit');
    await until('the VMMs have ended', () => vmms.every((pid) => !isAlive(pid)));
    assert.deepEqual(readdirSync(folder), []);
    rmSync(folder, { recursive: true });
  }
});

test('VMMs of a pool with a spare thread get the flag, before the arguments of the pool', async () => {
  const pool = await VmmPool.start({ size: 1, spareThread: true, args: ['-v'] });
  await using _pool = pool;
  const [vmm] = childrenOf(process.pid).filter(({ command }) => command.includes('cloud-hypervisor'));
  assert.match(vmm?.command ?? '', / --spare-thread -v /);
});
