// The debug port: output of firmware and of a guest.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus, messagesOf } from './support/answers.ts';
import { bootSector, debugSector } from './support/boot-sector.ts';
import { createAndBoot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { openShell, shellOn } from './support/shell.ts';
import { infoOf } from './support/vm-info.ts';
import { makeFolder, startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const SEABIOS = '/usr/share/seabios/bios-256k.bin';
const textOf = (path: string): string => (existsSync(path) ? readFileSync(path, 'latin1') : '');

test('--firmware boots the first disk, and --debug-console has its messages', async () => {
  const folder = makeFolder();
  const [disk, debug, serial] = [join(folder, 'boot.raw'), join(folder, 'debug, é'), join(folder, 'serial')];
  writeFileSync(disk, bootSector('BOOTED BY FIRMWARE'));
  await using vmm = await startVmm({
    args: [
      ...['--firmware', SEABIOS, '--disk', `path=${disk}`, '--console', 'off'],
      ...['--serial', `file=${serial}`],
      // SeaBIOS has its messages there
      ...['--debug-console', `file="${debug}",iobase=402`],
    ],
  });
  await until('the boot sector speaks', () => textOf(serial).includes('BOOTED BY FIRMWARE'), vmm.output);
  await until('SeaBIOS has spoken', () => textOf(debug).includes('SeaBIOS (version'));
  const { config } = await infoOf(vmm);
  assert.deepEqual(config.payload, { firmware: SEABIOS });
  assert.equal(config.debug_console?.iobase, 0x402);
});

test('output to the debug port is on its PTY, also after a reboot', async () => {
  await using vmm = await startVmm();
  const disk = join(vmm.folder, 'boot.raw');
  writeFileSync(disk, debugSector('THE DEBUG PORT'));
  const config = {
    payload: { firmware: SEABIOS },
    disks: [{ path: disk }],
    serial: { mode: 'Off' },
    console: { mode: 'Off' },
    debug_console: { mode: 'Pty' },
  };
  await createAndBoot(vmm, config);
  const { debug_console: debug } = (await infoOf(vmm)).config;
  assert.equal(debug?.iobase, 0xe9);
  using port = openShell(debug?.file ?? '');
  const times = (): number => port.shown().split('THE DEBUG PORT').length - 1;
  await until('the first life speaks', () => times() === 1, port.shown);
  assertStatus(await vmm.put('vm.reboot'), 204);
  await until('the second life speaks', () => times() === 2, port.shown);
});

test('invalid debug consoles are refused', async () => {
  await using vmm = await startVmm();
  for (const [more, message] of [
    [{ debug_console: { mode: 'File' } }, 'debug_console.file: Path missing'],
    [
      { debug_console: { mode: 'Tty' }, serial: { mode: 'Tty' } },
      'debug_console.mode: the terminal is that of another',
    ],
    [{ debug_console: { mode: 'Socket' } }, 'debug_console.mode'],
  ] as const) {
    const answer = await vmm.put('vm.create', guestConfig(more));
    assertStatus(answer, 400);
    assert.ok(messagesOf(answer).join().includes(message), JSON.stringify(answer.json));
  }
});

test('the virtio console in mode Socket', async () => {
  await using vmm = await startVmm();
  const path = join(vmm.folder, 'hvc, "0"');
  const console = { mode: 'Socket', socket: path };
  await createAndBoot(vmm, guestConfig({ console, cmdline: { args: 'console=hvc0' } }));
  const socket = connect(path);
  using shell = shellOn({
    write: (text) => void socket.write(text),
    onData: (take) => void socket.on('data', take),
    close: () => void socket.destroy(),
  });
  await shell.login();
  assert.equal(await shell.run('tty'), '/dev/hvc0');
  assertStatus(await vmm.put('vm.delete'), 204);
  assert.ok(!existsSync(path));
});
