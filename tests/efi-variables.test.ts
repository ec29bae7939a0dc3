// UEFI firmware in flash: its EFI variables outlive the machine, and the VMM where a file keeps them.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findFirmware } from '../src/host/kernel/find-firmware.ts';
import { assertStatus, messagesOf } from './support/answers.ts';
import { createAndBoot } from './support/boot.ts';
import { KERNEL } from './support/guest.ts';
import { migrate } from './support/migration.ts';
import { openShell, type Shell } from './support/shell.ts';
import { takeLive } from './support/live/live-snapshot.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { ptyOf, stateOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const CONFIG = {
  memory: { size: 256 * 2 ** 20 },
  serial: { mode: 'Pty' },
  console: { mode: 'Off' },
};

/** Deadline for the firmware until its shell, in milliseconds: 8 s on a quiet machine. */
const FIRMWARE_MS = 120_000;

const VARIABLE = 'setvar Nephos -guid 5a8c3f1e-7d24-4b60-9e11-0c2d4e6f8a90';
const VALUE = '4E 65 70 68';
/** Another variable and its value. */
const LATER_VARIABLE = VARIABLE.replace('Nephos', 'Later');
const LATER = '6C6174657221';

/** Shell of the firmware on the serial port. */
async function efiShellOf(vmm: TestVmm): Promise<Shell> {
  return openShell(await ptyOf(vmm));
}

/** Waits for the prompt of the firmware's shell, behind `from`. */
async function prompt(shell: Shell, from = 0): Promise<void> {
  await until(
    'the firmware shows its shell',
    () => shell.shown().includes('Shell>', from),
    () => shell.shown().slice(from),
    FIRMWARE_MS,
  );
}

/** Types a command and returns the output until the next prompt. */
async function type(shell: Shell, command: string): Promise<string> {
  const from = shell.shown().length;
  shell.type(`${command}\r`);
  await prompt(shell, from);
  return shell.shown().slice(from);
}

async function setVariable(shell: Shell): Promise<void> {
  assert.match(await type(shell, VARIABLE), /Unable to get/);
  await type(shell, `${VARIABLE} -bs -nv =${VALUE.replaceAll(' ', '')}`);
  assert.ok((await type(shell, VARIABLE)).includes(VALUE));
}

async function setLater(shell: Shell): Promise<void> {
  await type(shell, `${LATER_VARIABLE} -bs -nv =${LATER}`);
}

async function readVariable(shell: Shell): Promise<string> {
  return type(shell, VARIABLE);
}

async function reboot(vmm: TestVmm, shell: Shell): Promise<void> {
  const from = shell.shown().length;
  assertStatus(await vmm.put('vm.reboot'), 204);
  await prompt(shell, from);
}

test('EFI variables in memory outlive snapshot, restore, live migration, reboot and shutdown', async () => {
  const { code, variables } = await findFirmware();
  const template = readFileSync(variables);
  await using vmm = await startVmm();
  await createAndBoot(vmm, { ...CONFIG, payload: { firmware: 'OVMF' } });
  {
    using shell = await efiShellOf(vmm);
    await prompt(shell);
    await setVariable(shell);
  }
  const { config } = await vmm.client.call('vm.info');
  assert.equal(config.payload?.firmware, code);
  const snapshot = await takeSnapshot(vmm);
  await using restored = await startVmm();
  assertStatus(await restored.put('vm.restore', { source_url: `file://${snapshot}`, resume: true }), 204);
  await using received = await startVmm();
  await migrate(restored, received, `unix:${join(received.folder, 'migration')}`);
  using shell = await efiShellOf(received);
  await reboot(received, shell);
  assert.ok((await readVariable(shell)).includes(VALUE));
  assertStatus(await received.put('vm.shutdown'), 204);
  assertStatus(await received.put('vm.boot'), 204);
  using again = await efiShellOf(received);
  await prompt(again);
  assert.ok((await readVariable(again)).includes(VALUE));
  assert.deepEqual(readFileSync(variables), template);
});

test('a file of EFI variables is made from the template, kept, and used by one VM', async (t) => {
  const { code, variables } = await findFirmware();
  const folder = makeFolder();
  const file = join(folder, 'a, "file"');
  const config = { ...CONFIG, payload: { firmware: code, firmware_vars: file } };
  {
    await using vmm = await startVmm();
    await createAndBoot(vmm, config);
    using shell = await efiShellOf(vmm);
    await prompt(shell);
    await t.test('a change of the guest is in the file at once', async () => {
      assert.equal(statSync(file).mode & 0o777, 0o600);
      assert.equal(statSync(file).size, statSync(variables).size);
      await setVariable(shell);
      assert.ok(readFileSync(file).includes(Buffer.from(VALUE.replaceAll(' ', ''), 'hex')));
    });
    await t.test('a live snapshot has the variables of its pause, and the VM keeps its file', async () => {
      const snapshot = join(vmm.folder, 'live');
      const { method, reason } = await takeLive(vmm, snapshot);
      assert.deepEqual([method, reason], ['remap', undefined]);
      await setLater(shell);
      assert.ok(readFileSync(file).includes(Buffer.from(LATER, 'hex')));
      await using other = await startVmm();
      const payload = { firmware_vars: join(folder, 'of the copy') };
      const request = { source_url: `file://${snapshot}`, overrides: { payload }, resume: true };
      assertStatus(await other.put('vm.restore', request), 204);
      using copy = await efiShellOf(other);
      assert.ok((await readVariable(copy)).includes(VALUE));
      assert.match(await type(copy, LATER_VARIABLE), /Unable to get/);
      const bytes = readFileSync(payload.firmware_vars);
      assert.ok(bytes.includes(Buffer.from(VALUE.replaceAll(' ', ''), 'hex')));
      assert.ok(!bytes.includes(Buffer.from(LATER, 'hex')));
    });
    await t.test('another VM is refused', async () => {
      await using other = await startVmm();
      assertStatus(await other.put('vm.create', config), 204);
      const answer = await other.put('vm.boot');
      assertStatus(answer, 500);
      assert.match(messagesOf(answer).join(': '), /firmware_vars .*a, "file": is in use by another VM/);
    });
    vmm.kill('SIGKILL');
    await vmm.exited;
  }
  await t.test('another VMM reads it', async () => {
    await using vmm = await startVmm({
      args: [
        '--firmware',
        code,
        '--firmware-vars',
        file,
        '--memory',
        'size=256M',
        '--serial',
        'pty',
        '--console',
        'off',
      ],
    });
    await until('the VM runs', async () => (await stateOf(vmm)) === 'Running');
    using shell = await efiShellOf(vmm);
    await prompt(shell);
    assert.ok((await readVariable(shell)).includes(VALUE));
  });
  rmSync(folder, { recursive: true });
});

test('files that cannot keep EFI variables are refused by name, and nothing is made', async () => {
  const { code } = await findFirmware();
  await using vmm = await startVmm();
  const at = (name: string): string => join(vmm.folder, name);
  writeFileSync(at('short'), 'x');
  writeFileSync(at('plain.fd'), readFileSync(code));
  const cases: readonly (readonly [payload: object, message: RegExp])[] = [
    [
      { firmware: code, firmware_vars: at('short') },
      /firmware_vars .*short: has 1 bytes, the firmware expects/,
    ],
    [{ firmware: code, firmware_vars: at('none/x') }, /firmware_vars .*none\/x: no such file or directory/],
    [{ firmware: code, firmware_vars: vmm.folder }, /firmware_vars .*: illegal operation on a directory/],
    [
      { firmware: at('plain.fd'), firmware_vars: at('new') },
      /firmware_vars .*new: does not exist, and there is no template/,
    ],
    [{ kernel: KERNEL, firmware_vars: at('new') }, /firmware_vars .*new: .* is no firmware image/],
    [
      { firmware: 'OVMF_NONE.fd' },
      /firmware OVMF_NONE\.fd: there is no such file here, nor in .*install the package ovmf/,
    ],
    [{ firmware: code.replace('.fd', '.secboot.fd') }, /needs System Management Mode/],
  ];
  for (const [payload, message] of cases) {
    assertStatus(await vmm.put('vm.create', { ...CONFIG, payload }), 204);
    const answer = await vmm.put('vm.boot');
    assertStatus(answer, 500);
    assert.match(messagesOf(answer).join(': '), message);
    assertStatus(await vmm.put('vm.delete'), 204);
  }
  assert.deepEqual(
    ['new', 'none'].map((name) => existsSync(at(name))),
    [false, false],
  );
});
