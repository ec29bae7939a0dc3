// Exit codes of a VMM whose QEMU is killed, or whose guest panics or resets itself.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { limitDescriptors, unlimitDescriptors } from './support/descriptor-limit.ts';
import { guestConfig } from './support/guest.ts';
import { childrenOf, qemuOf } from './support/processes.ts';
import { stateOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const BY_COMMAND_LINE = ((): string[] => {
  const { kernel, initramfs } = guestConfig() as Record<string, { path: string }>;
  return ['--kernel', kernel?.path ?? '', '--initramfs', initramfs?.path ?? '', '--serial', 'null'];
})();

const PANIC = 'echo c >/proc/sysrq-trigger\r';

for (const signal of ['SIGKILL', 'SIGSEGV'] as const) {
  test(`without an API, a QEMU that is killed by ${signal} is exit code 1 with the reason`, async () => {
    await using vmm = await startVmm({ api: false, args: BY_COMMAND_LINE });
    await until('the guest runs', () => vmm.output().includes('vm booted'));
    process.kill(qemuOf(vmm.pid), signal);
    assert.equal(await vmm.exited, 1);
    assert.match(vmm.output(), new RegExp(`^QEMU ended unexpectedly \\(signal ${signal}`, 'm'));
    assert.match(vmm.output(), /vm crashed/);
  });
}

test('with --no-shutdown and without an API the VMM runs until a signal', async () => {
  const cmdline = ['--cmdline', 'console=ttyS0 nephos.run="poweroff -f"'];
  await using vmm = await startVmm({ api: false, args: [...BY_COMMAND_LINE, ...cmdline, '--no-shutdown'] });
  await until('the guest powers itself off', () => vmm.output().includes('vm shutdown'));
  await until('QEMU is gone', () => childrenOf(vmm.pid).length === 0);
  process.kill(vmm.pid, 'SIGTERM');
  assert.equal(await vmm.exited, 0);
  assert.match(vmm.output(), /vmm shutdown/);
});

test('--on-panic and --on-reboot refuse unknown actions with exit code 2', async () => {
  for (const flag of ['--on-panic', '--on-reboot']) {
    await using vmm = await startVmm({ api: false, args: [flag, 'explode'] });
    assert.equal(await vmm.exited, 2);
    assert.match(
      vmm.output(),
      /'explode' isn't a valid value for '--on-\w+ <on-\w+>' \(exit, restart, pause\)/,
    );
  }
});

test('--on-panic exit: exit code 1 and the event', async () => {
  await using vmm = await startVmm({ args: ['--on-panic', 'exit'] });
  using shell = await boot(vmm, { pvpanic: true });
  shell.type(PANIC);
  assert.equal(await vmm.exited, 1);
  assert.match(vmm.output(), /panic: the guest’s kernel has panicked event=panic/);
  assert.match(vmm.output(), /^the guest’s kernel panicked$/m);
  assert.deepEqual(childrenOf(vmm.pid), []);
});

test('--on-panic pause pauses the guest before it resets itself', async () => {
  await using vmm = await startVmm({ args: ['--on-panic', 'pause'] });
  const cmdline = { args: 'console=ttyS0 panic=-1' };
  using shell = await boot(vmm, { pvpanic: true, cmdline });
  const first = qemuOf(vmm.pid);
  shell.type(PANIC);
  await until('the VM is paused', async () => (await stateOf(vmm)) === 'Paused', vmm.output);
  assert.equal(qemuOf(vmm.pid), first);
  const core = join(vmm.folder, 'core');
  assertStatus(await vmm.put('vm.coredump', { destination_url: `file://${core}` }), 204);
  assert.equal(readFileSync(core).toString('latin1', 0, 4), '\x7fELF');
  // the kernel continues its reset
  assertStatus(await vmm.put('vm.resume'), 204);
  await shell.login();
  assert.notEqual(qemuOf(vmm.pid), first);
});

test('--on-panic restart starts a new QEMU', async () => {
  await using other = await startVmm({ args: ['--on-panic', 'restart'] });
  // this kernel hangs without the parameter
  using otherShell = await boot(other, { pvpanic: true });
  otherShell.type(PANIC);
  await otherShell.login();
  assert.equal(await stateOf(other), 'Running');
});

test('--on-reboot exit: exit code 0, or 1 after a panic', async () => {
  await using calm = await startVmm({ args: ['--on-reboot', 'exit', '--no-shutdown'] });
  using shell = await boot(calm);
  shell.type('reboot\r');
  assert.equal(await calm.exited, 0);

  await using vmm = await startVmm({ args: ['--on-reboot', 'exit'] });
  using other = await boot(vmm, { pvpanic: true, cmdline: { args: 'console=ttyS0 panic=-1' } });
  other.type(PANIC);
  assert.equal(await vmm.exited, 1);
  assert.match(vmm.output(), /^the guest’s kernel panicked, and the machine was reset$/m);
});

test('--on-reboot pause: the new QEMU is paused before its first instruction', async () => {
  await using vmm = await startVmm({ args: ['--on-reboot', 'pause'] });
  using shell = await boot(vmm);
  const first = qemuOf(vmm.pid);
  shell.type('reboot\r');
  await until('the VM is paused', async () => (await stateOf(vmm)) === 'Paused', vmm.output);
  assert.notEqual(qemuOf(vmm.pid), first);
  assertStatus(await vmm.put('vm.resume'), 204);
  await shell.login();
});

test('a reset whose QEMU cannot start leaves the VM Shutdown', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const { pid } = vmm;
  limitDescriptors(pid, 4);
  shell.type('reboot\r');
  await until('the VM is shut down', () => /ERROR:vm -- Error rebooting VM: /.test(vmm.output()), vmm.output);
  unlimitDescriptors(pid);
  await until('it says so', async () => (await stateOf(vmm)) === 'Shutdown');
  assertStatus(await vmm.put('vm.boot'), 204);
});

test('without an API a reset whose QEMU cannot start is exit code 1', async () => {
  // a kernel that finds no init panics, and resets itself
  const cmdline = ['--cmdline', 'console=ttyS0 panic=-1 rdinit=/none init=/none'];
  await using vmm = await startVmm({ api: false, args: [...BY_COMMAND_LINE, ...cmdline] });
  await until('the guest runs', () => vmm.output().includes('vm booted'));
  limitDescriptors(vmm.pid, 4);
  assert.equal(await vmm.exited, 1);
  assert.match(vmm.output(), /^Error rebooting VM: /m);
});
