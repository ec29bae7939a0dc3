// Mode Tty: the terminal of the VMM as a console, and its settings afterwards.
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus, messagesOf } from './support/answers.ts';
import { createAndBoot } from './support/boot.ts';
import { assertPasteArrives } from './support/console-input.ts';
import { guestConfig, INITRAMFS, KERNEL } from './support/guest.ts';
import { openTerminal, type TestTerminal } from './support/terminal.ts';
import { infoOf, stateOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const OFF = { mode: 'Off' };
const TTY = { mode: 'Tty' };
const GUEST = ['--kernel', KERNEL, '--initramfs', INITRAMFS];

/** Logs in at the guest's prompt, as a user types. */
async function useGuest({ shell }: TestTerminal, device: string): Promise<void> {
  await shell.login();
  assert.equal(await shell.run('tty'), device);
  // Ctrl-C ends the guest's program, not the VMM; one of its own from the start, as a shell that is about to start
  // one loses the signal
  const from = shell.shown().length;
  shell.type('sh -c "echo started; exec sleep 1000"\r');
  await until('the program runs', () => shell.shown().includes('started\n', from), shell.shown);
  shell.type('\u0003');
  await until('the prompt is back', () => shell.shown().includes('# ', from), shell.shown);
  assert.equal(await shell.run('echo after'), 'after');
}

for (const [which, device] of [
  ['serial', '/dev/ttyS0'],
  ['console', '/dev/hvc0'],
] as const) {
  test(`${which} on the terminal: raw mode while the VM runs`, async () => {
    using terminal = await openTerminal();
    const before = terminal.settings();
    await using vmm = await startVmm({ terminal: terminal.path });
    const config = guestConfig({
      serial: which === 'serial' ? TTY : OFF,
      console: which === 'console' ? TTY : OFF,
      cmdline: { args: `console=${device.slice(5)}` },
    });
    assertStatus(await vmm.put('vm.create', config), 204);
    assert.equal(terminal.settings(), before);

    assertStatus(await vmm.put('vm.boot'), 204);
    assert.ok(terminal.isRaw());
    await useGuest(terminal, device);
    await assertPasteArrives(terminal.shell);
    assert.equal(vmm.exitCode(), null);
    assertStatus(await vmm.put('vm.reboot'), 204);
    assert.ok(terminal.isRaw());
    await useGuest(terminal, device);
    assertStatus(await vmm.put('vm.shutdown'), 204);
    assert.equal(terminal.settings(), before);

    assertStatus(await vmm.put('vm.boot'), 204);
    assert.ok(terminal.isRaw());
    await terminal.shell.login();
    terminal.shell.type('poweroff\r');
    assert.equal(await vmm.exited, 0);
    assert.equal(terminal.settings(), before);
  });
}

test('SIGTERM restores the terminal of a VM of the command line', async () => {
  using terminal = await openTerminal();
  const before = terminal.settings();
  const args = [...GUEST, '--cmdline', 'console=ttyS0', '--serial', 'tty', '--console', 'off'];
  await using vmm = await startVmm({ terminal: terminal.path, api: false, args });
  await terminal.shell.login();
  assert.ok(terminal.isRaw());
  assert.equal(await terminal.shell.run('uname -s'), 'Linux');
  vmm.kill('SIGTERM');
  assert.equal(await vmm.exited, 0);
  assert.equal(terminal.settings(), before);
});

test('unusual settings are restored, also while the guest writes', async () => {
  using terminal = await openTerminal('-echoe', '-ixon', 'intr', '^A');
  const before = terminal.settings();
  await using vmm = await startVmm({ terminal: terminal.path });
  await createAndBoot(vmm, guestConfig({ serial: TTY }));
  await terminal.shell.login();
  terminal.shell.type('yes\r');
  await until('the guest writes', () => terminal.shell.shown().includes('y\ny\n'), terminal.shell.shown);
  assertStatus(await vmm.put('vm.delete'), 204);
  assert.equal(terminal.settings(), before);
  vmm.kill('SIGINT');
  assert.equal(await vmm.exited, 0);
  assert.equal(terminal.settings(), before);
});

test('a boot that fails restores the terminal', async () => {
  using terminal = await openTerminal();
  const before = terminal.settings();
  await using vmm = await startVmm({ terminal: terminal.path });
  const config = guestConfig({ serial: TTY, kernel: { path: '/nowhere/vmlinuz' } });
  assertStatus(await vmm.put('vm.create', config), 204);
  assertStatus(await vmm.put('vm.boot'), 500);
  assert.equal(terminal.settings(), before);
  assert.equal(await stateOf(vmm), 'Created');
});

test('Ctrl-C before a VM runs ends the VMM', async () => {
  using terminal = await openTerminal();
  await using vmm = await startVmm({ terminal: terminal.path });
  terminal.shell.type('\u0003');
  assert.equal(await vmm.exited, 0);
});

test('standard input that is no terminal is not read', async () => {
  const input = join(process.env['TMPDIR'] ?? '/tmp', `stdin-${process.pid}`);
  writeFileSync(input, 'root\recho typed\r'.repeat(100));
  const fd = openSync(input, 'r');
  await using vmm = await startVmm({ stdin: fd });
  closeSync(fd);
  await createAndBoot(vmm, guestConfig({ serial: TTY }));
  await until('the guest asks for a login', () => vmm.output().includes('login:'), vmm.output);
  assert.match(readFileSync(`/proc/${vmm.pid}/fdinfo/0`, 'utf8'), /^pos:\s+0$/m);
  assert.match(vmm.output(), /Linux version/);
});

test('two consoles on one terminal are refused in the contract’s dialect', async () => {
  const text = 'Console mode tty specified for both serial and console';
  await using vmm = await startVmm();
  const answer = await vmm.put('vm.create', guestConfig({ serial: TTY, console: TTY }));
  assertStatus(answer, 400);
  const messages = messagesOf(answer);
  assert.equal(messages[0], 'vm.create failed');
  assert.ok(messages.at(-1)?.includes(text), JSON.stringify(messages));
  assertStatus(await vmm.get('vm.info'), 404);
  // without a `console` member the console is Tty as well
  const silent = guestConfig({ serial: TTY });
  delete silent['console'];
  assertStatus(await vmm.put('vm.create', silent), 400);
  // with a payload three consoles are
  const payload = { kernel: '/nowhere/vmlinuz' };
  assertStatus(await vmm.put('vm.create', { payload, serial: TTY, console: TTY, debug_console: TTY }), 204);
});

test('two consoles of the command line share the terminal', async () => {
  using terminal = await openTerminal();
  const cmdline = 'console=hvc0 console=ttyS0';
  const args = [...GUEST, '--cmdline', cmdline, '--serial', 'tty', '--console', 'tty'];
  await using vmm = await startVmm({ args, terminal: terminal.path });
  const { shell } = terminal;
  await shell.sees('Linux version');
  const logins = (): number => shell.shown().split('login:').length - 1;
  await until('both ask for a login', () => logins() === 2, shell.shown);
  const login = shell.login();
  // the console that gets the terminal prints the prompt again
  shell.type('\r');
  await login;
  assert.equal(await shell.run('tty'), '/dev/hvc0');
  await shell.run('echo from $((40 + 2)) >/dev/ttyS0');
  await shell.sees('from 42');
  const { config } = await infoOf(vmm);
  assert.ok('payload' in config);
});
