// The lifecycle of a VM by the API, observed in the guest and on the host.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot, createAndBoot, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { childrenOf, descriptorsOf, isAlive, qemuOf } from './support/processes.ts';
import { ptyOf, stateOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

test('boot, login and power button', async (t) => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  await t.test('the guest runs commands that are typed on its PTY', async () => {
    assert.match(await shell.run('uname -sr'), /^Linux 6\./);
    assert.equal(await shell.run('echo $((6 * 7))'), '42');
  });
  await t.test('vm.info shows Running', async () => {
    assert.equal(await stateOf(vmm), 'Running');
  });
  await t.test(
    'the power button shuts down the guest: the VMM exits with 0 and removes its socket',
    async () => {
      assertStatus(await vmm.put('vm.power-button'), 204);
      assert.equal(await vmm.exited, 0);
      assert.ok(!existsSync(vmm.socket), 'the API socket is still there');
    },
  );
});

test('answers to requests in each state of a VM', async (t) => {
  await using vmm = await startVmm();
  const actions = ['boot', 'pause', 'resume', 'shutdown', 'reboot', 'power-button', 'delete'];
  const statuses = async (names: readonly string[]): Promise<number[]> => {
    const answers: number[] = [];
    for (const name of names) answers.push((await vmm.put(`vm.${name}`)).status);
    return answers;
  };
  await t.test('without a VM', async () => {
    assert.deepEqual(await statuses(actions), [404, 404, 404, 404, 404, 404, 404]);
    assertStatus(await vmm.get('vm.info'), 404);
    assertStatus(await vmm.get('vm.counters'), 404);
  });

  await t.test('Created', async () => {
    assertStatus(await vmm.put('vm.create', guestConfig()), 204);
    assertStatus(await vmm.put('vm.create', guestConfig()), 405);
    assert.equal(await stateOf(vmm), 'Created');
    // the contract has 404 for vm.resume of a VM that is not booted, 405 for one that is not paused
    assert.deepEqual(
      await statuses(['pause', 'resume', 'shutdown', 'reboot', 'power-button']),
      [405, 404, 405, 405, 405],
    );
    assertStatus(await vmm.get('vm.counters'), 405);
  });

  await t.test('Running', async () => {
    assert.deepEqual(await statuses(['boot', 'boot', 'resume']), [204, 405, 405]);
    assertStatus(await vmm.put('vm.create', guestConfig()), 405);
  });
  await t.test('Paused', async () => {
    assert.deepEqual(await statuses(['pause', 'pause']), [204, 405]);
    assert.equal(await stateOf(vmm), 'Paused');
  });
  await t.test('vm.boot resumes a paused VM, as in Cloud Hypervisor', async () => {
    assert.deepEqual(await statuses(['boot']), [204]);
    assert.equal(await stateOf(vmm), 'Running');
    assertStatus(await vmm.get('vm.counters'), 200);
  });

  await t.test('Shutdown', async () => {
    assert.deepEqual(await statuses(['pause', 'shutdown']), [204, 204]);
    assert.equal(await stateOf(vmm), 'Shutdown');
    assert.deepEqual(await statuses(['shutdown', 'pause', 'boot']), [405, 405, 204]);
  });
  await t.test('after vm.delete and vmm.shutdown', async () => {
    assert.deepEqual(await statuses(['delete', 'delete']), [204, 404]);
    assertStatus(await vmm.get('vm.info'), 404);
    assertStatus(await vmm.put('vmm.shutdown'), 204);
    assert.equal(await vmm.exited, 0);
  });
});

test('vm.pause stops the clock of the guest', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const uptime = async (): Promise<number> => Number((await shell.run('cat /proc/uptime')).split(' ')[0]);
  const before = await uptime();
  assertStatus(await vmm.put('vm.pause'), 204);
  // the elapsed time is what is tested: there is no condition to wait for
  await delay(6000);
  assertStatus(await vmm.put('vm.resume'), 204);
  const passed = (await uptime()) - before;
  assert.ok(passed < 4, `${passed} s passed in the guest while it was paused for 6 s`);
});

test('reboots by the API and by the guest start a new QEMU and keep the PTY', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const pty = await ptyOf(vmm);
  const bootId = () => shell.run('cat /proc/sys/kernel/random/boot_id');
  const qemu = () => qemuOf(vmm.pid);
  const ids = [await bootId()];
  const first = qemu();
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  ids.push(await bootId());
  assert.equal(await ptyOf(vmm), pty);
  assert.ok(!isAlive(first), 'the first QEMU still runs');
  shell.type('reboot\r');
  await shell.login();
  ids.push(await bootId());
  assert.equal(await ptyOf(vmm), pty);
  assert.equal(await stateOf(vmm), 'Running');
  assert.equal(new Set(ids).size, 3, `boot ids: ${ids.join(' ')}`);
  assert.equal(vmm.exitCode(), null);
});

test('on guest power-off the VMM exits with 0', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const qemu = qemuOf(vmm.pid);
  shell.type('poweroff\r');
  assert.equal(await vmm.exited, 0);
  assert.ok(!isAlive(qemu));
  assert.ok(!existsSync(vmm.socket));
});

test('after a crash of QEMU the VM is Shutdown and boots again', async () => {
  await using vmm = await startVmm();
  using _first = await boot(vmm);
  process.kill(qemuOf(vmm.pid), 'SIGKILL');
  await until('the VM is shut down', async () => (await stateOf(vmm)) === 'Shutdown', vmm.output);
  assert.match(vmm.output(), /ERROR:vm -- QEMU ended unexpectedly \(signal SIGKILL/);
  assertStatus(await vmm.put('vm.boot'), 204);
  using shell = await login(vmm);
  assert.equal(await shell.run('echo again'), 'again');
});

test('SIGTERM and SIGINT end QEMU and the VMM with exit code 0', async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    await using vmm = await startVmm();
    await createAndBoot(vmm, guestConfig());
    const qemu = qemuOf(vmm.pid);
    vmm.kill(signal);
    assert.equal(await vmm.exited, 0);
    assert.ok(!isAlive(qemu), 'QEMU still runs');
    assert.ok(!existsSync(vmm.socket), 'the API socket is still there');
  }
});

test('a killed VMM leaves no QEMU, and its socket can be used by the next', async () => {
  await using first = await startVmm();
  await createAndBoot(first, guestConfig());
  const qemu = qemuOf(first.pid);
  first.kill('SIGKILL');
  assert.equal(await first.exited, 'SIGKILL');
  await until('QEMU is gone', () => !isAlive(qemu));
  assert.ok(existsSync(first.socket));
  await using second = await startVmm({ args: [], socket: first.socket });
  assertStatus(await second.put('vm.create', guestConfig()), 204);
});

test('20 cycles of create, boot, shutdown, delete leak no descriptor, process or file', async () => {
  await using vmm = await startVmm();
  const cycle = async (): Promise<void> => {
    await createAndBoot(vmm, guestConfig({ console: { mode: 'Pty' } }));
    assertStatus(await vmm.put('vm.shutdown'), 204);
    assertStatus(await vmm.put('vm.delete'), 204);
  };
  // the first cycle opens files that stay open
  await cycle();
  const before = descriptorsOf(vmm.pid);
  const files = readdirSync(vmm.folder);
  for (let i = 0; i < 20; i++) await cycle();
  // connections of this test may still be closing, now as before
  const more = () => surplus(descriptorsOf(vmm.pid), before);
  await until(
    'no more file descriptors are open than before',
    () => more().length === 0,
    () => more().join('\n'),
  );
  assert.deepEqual(childrenOf(vmm.pid), []);
  assert.deepEqual(readdirSync(vmm.folder), files);
});

/** Items that are in one list more often than in another. */
function surplus(now: readonly string[], before: readonly string[]): string[] {
  const rest = [...before];
  return now.filter((one) => {
    const at = rest.indexOf(one);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}

test('during a boot vmm.ping and vm.info answer, and other requests are queued', async () => {
  await using vmm = await startVmm();
  const order: string[] = [];
  const told = async (name: string, answer: Promise<{ status: number }>): Promise<void> => {
    order.push(`${name} ${(await answer).status}`);
  };
  assertStatus(await vmm.put('vm.create', guestConfig()), 204);
  // each request has its own connection; the start of QEMU takes longer than a request
  const booting = told('boot', vmm.put('vm.boot'));
  await until('the boot is under way', () => vmm.output().includes('-- vm.boot'));
  const pause = told('pause', vmm.put('vm.pause'));
  await told('ping', vmm.get('vmm.ping'));
  await told('info', vmm.get('vm.info'));
  await Promise.all([booting, pause]);
  assert.deepEqual(order, ['ping 200', 'info 200', 'boot 204', 'pause 204']);
});
