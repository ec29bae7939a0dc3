// The ways of live snapshots: in its own QEMU, in another one where its threads cannot be controlled, or paused.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { loadLibc } from '../src/native/libc.ts';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { createImage } from './support/images.ts';
import { startEcho } from './support/live/echo-stream.ts';
import { observeLive } from './support/live/live-faults.ts';
import { qemusOf, takeLive } from './support/live/live-snapshot.ts';
import { threadsOf, tracersOf, traceThread } from './support/live/traced-thread.ts';
import { restore } from './support/snapshots.ts';
import { infoOf, stateOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const FILL =
  'dd if=/dev/urandom of=/run/filled bs=1M count=8 2>/dev/null; md5sum /run/filled >/run/filled.md5';
const COMPARE = 'md5sum -c /run/filled.md5 >/dev/null 2>&1 && echo whole';

before(loadLibc);

test('forwards of a user-mode network keep their streams in live snapshots', async (t) => {
  await using vmm = await startVmm();
  const forwards = [{ host_port: 0, guest_port: 7778 }];
  const net = [{ backend: 'user', id: 'net', ip: '10.93.1.1', forwards }];
  using shell = await boot(vmm, { memory: { size: 192 * MIB }, net }, { tools: true });
  await shell.run('ip addr add 10.93.1.15/24 dev eth0; ip link set eth0 up');
  await shell.run('socat TCP-LISTEN:7778,fork,reuseaddr EXEC:cat </dev/null >/dev/null 2>&1 & true');
  await until('the guest listens', async () => (await shell.run('netstat -ltn | grep -c :7778')) === '1');
  const port = (await infoOf(vmm)).config.net?.[0]?.forwards?.[0]?.host_port ?? 0;
  using stream = startEcho(connect(port, '127.0.0.1').setNoDelay(true), { name: 'forward' });
  await stream.flows();
  const [qemu = 0] = qemusOf(vmm);

  await t.test('the VM continues in its QEMU, and the stream flows', async () => {
    for (const name of ['one', 'two', 'three']) {
      const { method, reason } = await takeLive(vmm, join(vmm.folder, name));
      assert.deepEqual([method, reason], ['remap', undefined]);
      await stream.flows();
    }
    assert.deepEqual(qemusOf(vmm), [qemu]);
  });

  await t.test('if its threads cannot be controlled, it is paused', async () => {
    using _traced = traceThread(threadsOf(qemu).vcpus[0] ?? 0);
    const { method, reason } = await takeLive(vmm, join(vmm.folder, 'traced'));
    assert.equal(method, 'copy');
    assert.match(reason ?? '', /^net net: connections of a user-mode network.*; the RAM cannot be frozen/);
    await stream.flows();
    assert.equal(await stateOf(vmm), 'Running');
  });

  await stream.finish();

  await t.test('a restored copy has a forward of its own', async () => {
    await using other = await startVmm();
    using copy = await restore(other, join(vmm.folder, 'three'));
    const own = (await infoOf(other)).config.net?.[0]?.forwards?.[0]?.host_port ?? 0;
    assert.notEqual(own, port);
    assert.equal(await copy.run('echo alive'), 'alive');
    using echo = startEcho(connect(own, '127.0.0.1').setNoDelay(true), { name: 'forward of the copy' });
    await echo.flows();
    await echo.finish();
  });
});

test('a VM whose threads another program traces continues in another QEMU', async (t) => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { memory: { size: 192 * MIB } });
  await shell.run(FILL);
  for (const kind of ['vcpus', 'others'] as const) {
    await t.test(`one of its ${kind}`, async () => {
      const [first = 0] = qemusOf(vmm);
      const threads = threadsOf(first)[kind];
      const traced = threads.map(traceThread);
      try {
        const { method, reason } = await takeLive(vmm, join(vmm.folder, kind));
        assert.equal(method, 'twin');
        assert.match(reason ?? '', /the RAM cannot be frozen in QEMU: operation not permitted/i);
      } finally {
        for (const one of traced) one[Symbol.dispose]();
      }
      const now = qemusOf(vmm);
      assert.ok(now.length === 1 && now[0] !== first, `${first}: ${now.join()}`);
      assert.deepEqual(tracersOf(now[0] ?? 0), []);
      assert.equal(await shell.run(COMPARE), 'whole');
    });
  }
});

/** Attempts until a thread is traced between the check of the threads and the pause. */
const ATTEMPTS = 5;

test('a freeze that fails in the pause is taken back, and the VM continues in another QEMU', async () => {
  for (let attempt = 1; ; attempt++) {
    await using vmm = await startVmm();
    // the longer their copies are opened, the longer is the phase before the pause
    const disks = ['a', 'b', 'c', 'd', 'e'].map((id) => ({
      id,
      path: createImage(join(vmm.folder, `${id}.qcow2`), '16M', ['-f', 'qcow2']),
      image_type: 'Qcow2',
    }));
    using shell = await boot(vmm, { memory: { size: 192 * MIB }, disks });
    await shell.run(`${FILL}; echo before >/dev/vda; sync`);
    const [first = 0] = qemusOf(vmm);
    const folder = join(vmm.folder, 'live');
    let traced: Disposable | undefined;
    const act = (): void => {
      traced = traceThread(threadsOf(first).vcpus[0] ?? 0);
    };
    const { result } = await observeLive(vmm, folder, { phase: 'freezing memory', act, disks: 'copy' });
    traced?.[Symbol.dispose]();
    assert.ok(result !== undefined, vmm.output().slice(-4000));
    assert.equal(await shell.run(COMPARE), 'whole');
    // the thread was traced too late
    if (result.method === 'remap' && attempt < ATTEMPTS) continue;
    assert.equal(result.method, 'twin');
    assert.match(vmm.output(), /the RAM was not frozen in QEMU: operation not permitted/i);
    assert.equal(result.disks?.length, 5);
    assert.ok(!qemusOf(vmm).includes(first));
    assert.equal(await stateOf(vmm), 'Running');
    assert.equal(await shell.run('head -c 6 /dev/vda; echo after >/dev/vda; sync'), 'before');
    const copies = disks.map(({ id, path }) => ({ id, path: `${path}.copy`, backing_files: true }));
    const request = { source_url: `file://${folder}`, overrides: { disks: copies }, resume: true };
    for (const { id, path } of disks) {
      createImage(`${path}.copy`, '16M', [
        '-f',
        'qcow2',
        '-b',
        join(folder, `disk-${id}.qcow2`),
        '-F',
        'qcow2',
      ]);
    }
    await using other = await startVmm();
    assertStatus(await other.put('vm.restore', request), 204);
    return;
  }
});
