// The life of a VM through the API, seen in the guest and on the host.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { guestConfig } from './support/guest.ts';
import { descriptorsOf, childrenOf, isAlive, qemuOf } from './support/processes.ts';
import { openShell, ptyOf } from './support/shell.ts';
import { until } from './support/wait.ts';
import { assertStatus, startVmm, type TestVmm } from './support/vmm.ts';

async function stateOf(vmm: TestVmm): Promise<string> {
  return ((await vmm.get('vm.info')).json as { state: string }).state;
}

async function bootGuest(vmm: TestVmm, more: Readonly<Record<string, unknown>> = {}) {
  assertStatus(await vmm.put('vm.create', guestConfig(more)), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const shell = openShell(await ptyOf(vmm));
  await shell.login();
  return shell;
}

test('a guest boots by the API, is logged into over its PTY, and the power button ends it and the VMM', async () => {
  await using vmm = await startVmm();
  using shell = await bootGuest(vmm);
  assert.match(await shell.run('uname -sr'), /^Linux 6\./);
  assert.equal(await shell.run('echo $((6 * 7))'), '42');
  assert.equal(await stateOf(vmm), 'Running');
  assertStatus(await vmm.put('vm.power-button'), 204);
  assert.equal(await vmm.exited, 0);
  assert.ok(!existsSync(vmm.socket), 'the API socket is still there');
});

test('each request in each state is answered as documented', async () => {
  await using vmm = await startVmm();
  const actions = ['boot', 'pause', 'resume', 'shutdown', 'reboot', 'power-button', 'delete'];
  const statuses = async (names: readonly string[]): Promise<number[]> => {
    const answers: number[] = [];
    for (const name of names) answers.push((await vmm.put(`vm.${name}`)).status);
    return answers;
  };
  assert.deepEqual(await statuses(actions), [404, 404, 404, 404, 404, 404, 404]);
  assertStatus(await vmm.get('vm.info'), 404);
  assertStatus(await vmm.get('vm.counters'), 404);

  assertStatus(await vmm.put('vm.create', guestConfig()), 204);
  assertStatus(await vmm.put('vm.create', guestConfig()), 405);
  assert.equal(await stateOf(vmm), 'Created');
  // vm.resume: the document tells "not booted" (404) from "not paused" (405)
  assert.deepEqual(
    await statuses(['pause', 'resume', 'shutdown', 'reboot', 'power-button']),
    [405, 404, 405, 405, 405],
  );
  assertStatus(await vmm.get('vm.counters'), 405);

  assert.deepEqual(await statuses(['boot', 'boot', 'resume']), [204, 405, 405]);
  assertStatus(await vmm.put('vm.create', guestConfig()), 405);
  assert.deepEqual(await statuses(['pause', 'pause']), [204, 405]);
  assert.equal(await stateOf(vmm), 'Paused');
  // as the original: vm.boot resumes a paused VM
  assert.deepEqual(await statuses(['boot']), [204]);
  assert.equal(await stateOf(vmm), 'Running');
  assertStatus(await vmm.get('vm.counters'), 200);

  assert.deepEqual(await statuses(['pause', 'shutdown']), [204, 204]);
  assert.equal(await stateOf(vmm), 'Shutdown');
  assert.deepEqual(await statuses(['shutdown', 'pause', 'boot']), [405, 405, 204]);
  assert.deepEqual(await statuses(['delete', 'delete']), [204, 404]);
  assertStatus(await vmm.get('vm.info'), 404);
  assertStatus(await vmm.put('vmm.shutdown'), 204);
  assert.equal(await vmm.exited, 0);
});

test('pause stops the clock of the guest', async () => {
  await using vmm = await startVmm();
  using shell = await bootGuest(vmm);
  const uptime = async (): Promise<number> => Number((await shell.run('cat /proc/uptime')).split(' ')[0]);
  const before = await uptime();
  assertStatus(await vmm.put('vm.pause'), 204);
  // the time that passes is what is tested: the one wait that is for no condition
  await delay(6000);
  assertStatus(await vmm.put('vm.resume'), 204);
  const passed = (await uptime()) - before;
  assert.ok(passed < 4, `${passed} s passed in the guest while it was paused for 6 s`);
});

test('reboot by the API and by the guest start a new machine behind the same PTY', async () => {
  await using vmm = await startVmm();
  using shell = await bootGuest(vmm);
  const pty = await ptyOf(vmm);
  const bootId = () => shell.run('cat /proc/sys/kernel/random/boot_id');
  const engine = () => qemuOf(vmm.pid);
  const ids = [await bootId()];
  const first = engine();
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

test('a guest that powers itself off ends the VMM with exit code 0', async () => {
  await using vmm = await startVmm();
  using shell = await bootGuest(vmm);
  const engine = qemuOf(vmm.pid);
  shell.type('poweroff\r');
  assert.equal(await vmm.exited, 0);
  assert.ok(!isAlive(engine));
  assert.ok(!existsSync(vmm.socket));
});

test('a QEMU that dies leaves a VM that is shut down and boots again', async () => {
  await using vmm = await startVmm();
  using _first = await bootGuest(vmm);
  process.kill(qemuOf(vmm.pid), 'SIGKILL');
  await until('the VM is shut down', async () => (await stateOf(vmm)) === 'Shutdown', vmm.output);
  assert.match(vmm.output(), /ERROR:vm -- QEMU ended unexpectedly \(signal SIGKILL/);
  assertStatus(await vmm.put('vm.boot'), 204);
  using shell = openShell(await ptyOf(vmm));
  await shell.login();
  assert.equal(await shell.run('echo again'), 'again');
});

test('SIGTERM and SIGINT end guest and VMM in order', async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    await using vmm = await startVmm();
    assertStatus(await vmm.put('vm.create', guestConfig()), 204);
    assertStatus(await vmm.put('vm.boot'), 204);
    const engine = qemuOf(vmm.pid);
    vmm.kill(signal);
    assert.equal(await vmm.exited, 0);
    assert.ok(!isAlive(engine), 'QEMU still runs');
    assert.ok(!existsSync(vmm.socket), 'the API socket is still there');
  }
});

test('a VMM that is killed leaves no QEMU, and its socket is no hindrance to the next', async () => {
  await using first = await startVmm();
  assertStatus(await first.put('vm.create', guestConfig()), 204);
  assertStatus(await first.put('vm.boot'), 204);
  const engine = qemuOf(first.pid);
  first.kill('SIGKILL');
  assert.equal(await first.exited, 'SIGKILL');
  await until('QEMU is gone', () => !isAlive(engine));
  assert.ok(existsSync(first.socket));
  await using second = await startVmm({ args: [], socket: first.socket });
  assertStatus(await second.put('vm.create', guestConfig()), 204);
});

test('20 cycles of create, boot, shutdown, delete leak no descriptor, process or file', async () => {
  await using vmm = await startVmm();
  const cycle = async (): Promise<void> => {
    assertStatus(await vmm.put('vm.create', guestConfig({ console: { mode: 'Pty' } })), 204);
    assertStatus(await vmm.put('vm.boot'), 204);
    assertStatus(await vmm.put('vm.shutdown'), 204);
    assertStatus(await vmm.put('vm.delete'), 204);
  };
  // the first one loads what stays loaded
  await cycle();
  const before = descriptorsOf(vmm.pid);
  const files = readdirSync(vmm.folder);
  for (let i = 0; i < 20; i++) await cycle();
  // a connection of the test's own may still be on its way out, now as before
  const more = () => surplus(descriptorsOf(vmm.pid), before);
  await until(
    'nothing is open that was not before',
    () => more().length === 0,
    () => more().join('\n'),
  );
  assert.deepEqual(childrenOf(vmm.pid), []);
  assert.deepEqual(readdirSync(vmm.folder), files);
});

/** What is in one list more often than in another. */
function surplus(now: readonly string[], before: readonly string[]): string[] {
  const rest = [...before];
  return now.filter((one) => {
    const at = rest.indexOf(one);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}

test('vmm.ping and vm.info answer while a boot is under way, and operations wait their turn', async () => {
  await using vmm = await startVmm();
  const order: string[] = [];
  const told = async (name: string, answer: Promise<{ status: number }>): Promise<void> => {
    order.push(`${name} ${(await answer).status}`);
  };
  assertStatus(await vmm.put('vm.create', guestConfig()), 204);
  // each on a connection of its own; the sleep of a booting QEMU is long enough for a whole request
  const boot = told('boot', vmm.put('vm.boot'));
  await until('the boot is under way', () => vmm.output().includes('-- vm.boot'));
  const pause = told('pause', vmm.put('vm.pause'));
  await told('ping', vmm.get('vmm.ping'));
  await told('info', vmm.get('vm.info'));
  await Promise.all([boot, pause]);
  assert.deepEqual(order, ['ping 200', 'info 200', 'boot 204', 'pause 204']);
});
