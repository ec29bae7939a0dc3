// Outputs of a VMM whose reader has closed, as after a kill of Kata's shim.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPty } from '../src/host/console/pty.ts';
import { createAndBoot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { openShell } from './support/shell.ts';
import { ptyOf, stateOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { within } from './support/wait.ts';

const TTY = { serial: { mode: 'Tty' }, console: { mode: 'Pty' }, cmdline: { args: 'console=hvc0' } };

/** Boots a guest with its serial port on the outputs, closes their reader and lets the guest write and power off. */
async function powerOffUnread(vmm: TestVmm, lose: () => void): Promise<void> {
  await createAndBoot(vmm, guestConfig(TTY));
  using shell = openShell(await ptyOf(vmm, 'console'));
  await shell.login();
  lose();
  await shell.run('seq 1 20000 >/dev/ttyS0');
  assert.equal(await stateOf(vmm), 'Running');
  shell.type('poweroff -f\n');
  assert.equal(await within(60_000, 'the end of the VMM', () => vmm.exited), 0);
}

test('a power-off ends the VMM after the terminal of its serial port is closed', async () => {
  const pty = await openPty();
  const onTerminal = ['sh', '-c', 'exec "$@" <&- >"$0" 2>&1', pty.path];
  await using vmm = await startVmm({ through: onTerminal });
  await powerOffUnread(vmm, pty.dispose);
});

test('a power-off ends the VMM after the pipe of its serial port lost its reader', async () => {
  await using vmm = await startVmm();
  await powerOffUnread(vmm, () => {
    vmm.child.stdout?.destroy();
    vmm.child.stderr?.destroy();
  });
});
