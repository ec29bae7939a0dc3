// vm.console: WebSockets of consoles in the modes File and Null, in the guest; the switch of the first viewer; and `ch-remote console`.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { chRemote } from './support/ch-remote.ts';
import { createAndBoot, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { openMonitor, type Monitor } from './support/qemu-monitor.ts';
import { openTerminal } from './support/terminal.ts';
import { checkOutput, viewConsole, type TestViewer } from './support/viewers.ts';
import { VirtualMachine } from '../src/sdk/virtual-machine.ts';
import { REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const SERIAL = 'device=serial';

/** The position at which the output of a viewer begins. */
function beginOf(viewer: TestViewer): number {
  return Number(viewer.reports()[0]?.['position']);
}

test('consoles in the modes File and Null have viewers', async (t) => {
  await using vmm = await startVmm();
  const file = join(vmm.folder, 'serial.log');
  await t.test('a VM that is not booted has none', async () => {
    await assert.rejects(viewConsole(vmm, SERIAL), /404/);
    assertStatus(
      await vmm.put('vm.create', guestConfig({ serial: { mode: 'File', file }, console: { mode: 'Null' } })),
      204,
    );
    await assert.rejects(viewConsole(vmm, SERIAL), /405/);
  });
  assertStatus(await vmm.put('vm.boot'), 204);
  const viewer = await viewConsole(vmm, SERIAL);
  const { shell } = viewer;
  await shell.login();

  await t.test(
    'a viewer gets all output from the boot on, which is also in the file, and may write',
    async () => {
      assert.deepEqual(viewer.reports(), [{ type: 'position', position: 0, lost: 0 }]);
      assert.match(shell.shown(), /Linux version 6\./);
      assert.equal(await shell.run('tty'), '/dev/ttyS0');
      await until('the file has the same bytes', () => readFileSync(file).equals(viewer.bytes()));
    },
  );
  await t.test('a late viewer gets the same output', async () => {
    const late = await viewConsole(vmm, SERIAL);
    await until('it has all', () => late.bytes().equals(viewer.bytes()));
    await late.leave();
  });
  await t.test('five viewers get 2 MiB of the virtio console, each byte in order', () =>
    checkOutput(vmm, shell, { mib: 2, count: 5, timeoutMs: 90_000 }),
  );
  await t.test('a viewer that connects again misses nothing', async () => {
    const first = await viewConsole(vmm, `${SERIAL}&write=0`);
    await until('it has all', () => first.bytes().equals(viewer.bytes()));
    const seen = await first.leave();
    await shell.run('seq 1 5000');
    const again = await viewConsole(vmm, `${SERIAL}&write=0&after=${seen.length}`);
    await until('it has all', () => Buffer.concat([seen, again.bytes()]).equals(viewer.bytes()));
    assert.equal(beginOf(again), seen.length);
    await again.leave();
  });
  await t.test('a read-only viewer may not write, and a text must be a request', async () => {
    for (const [query, message] of [
      [`${SERIAL}&write=0`, Buffer.from('x')],
      [SERIAL, 'root'],
      [SERIAL, '{"type":"resize","columns":0,"rows":1}'],
    ] as const) {
      const one = await viewConsole(vmm, query);
      one.socket.send(message);
      assert.equal((await one.ended)[0], 1008);
    }
  });
  await t.test('a request for another size is answered', async () => {
    for (const device of ['serial', 'console']) {
      const one = await viewConsole(vmm, `device=${device}`);
      one.socket.send(JSON.stringify({ type: 'resize', columns: 100, rows: 40 }));
      await until('it is answered', () => one.reports().length > 1);
      assert.equal(one.reports()[1]?.['type'], 'resize');
      assert.equal(typeof one.reports()[1]?.['applied'], 'boolean');
      await one.leave();
    }
  });
  await t.test('a wrong query and a request without an upgrade are refused', async () => {
    await assert.rejects(viewConsole(vmm, 'device=tty'), /400/);
    assertRefused(await vmm.get('vm.console?device=serial'), 400, /WebSocket/);
  });
  await t.test('ch-remote attaches a terminal and restores it', () => attach(vmm));
  await t.test('the SDK reads and writes it', async () => {
    await using vm = await VirtualMachine.attach(vmm.socket);
    vm.serial.write('echo from-the-""sdk\n');
    await vm.serial.waitFor('from-the-sdk', { timeoutMs: 90_000 });
  });
  await t.test('a viewer stays over a reboot, and its positions go on', async () => {
    const before = viewer.bytes().length;
    assertStatus(await vmm.put('vm.reboot'), 204);
    await shell.login();
    assert.equal(await shell.run('echo again'), 'again');
    assert.equal(viewer.reports().length, 1);
    const late = await viewConsole(vmm, `${SERIAL}&after=${before}`);
    await until('it has all', () => late.bytes().equals(viewer.bytes().subarray(before)));
    await late.leave();
  });
  assertStatus(await vmm.put('vm.shutdown'), 204);
  await t.test('vm.shutdown ends the connection with a reason', async () => {
    assert.deepEqual(await viewer.ended, [1001, 'The console is closed: the VM was shut down']);
  });
});

/** Runs `ch-remote console` in a terminal, types a command, and disconnects; then the same with a signal. */
async function attach(vmm: TestVmm): Promise<void> {
  using terminal = await openTerminal();
  const before = terminal.settings();
  for (const end of ['escape', 'SIGTERM'] as const) {
    const fd = openSync(terminal.path, constants.O_RDWR | constants.O_NOCTTY);
    const words = [process.execPath, join(REPO, 'bin/ch-remote'), '--api-socket', vmm.socket, 'console'];
    const child = spawn('setsid', ['--ctty', ...words], { stdio: [fd, fd, fd] });
    closeSync(fd);
    const exited = new Promise<number | null>((resolve) => void child.once('exit', resolve));
    await terminal.shell.sees('serial: Ctrl-] disconnects');
    await until('the terminal is in raw mode', terminal.isRaw);
    terminal.shell.type(`echo typed-""${end}\r`);
    await terminal.shell.sees(`typed-${end}`);
    if (end === 'escape') terminal.shell.type('\u001d');
    else child.kill(end);
    assert.equal(await exited, end === 'escape' ? 0 : 143);
    assert.equal(terminal.settings(), before);
  }
  const wrong = await chRemote(vmm, 'console', '--device', 'tty');
  assert.match(wrong.stderr, /The console 'tty' does not exist/);
}

test('a console in mode Off has no viewers', async () => {
  await using vmm = await startVmm();
  await createAndBoot(vmm, guestConfig());
  await assert.rejects(viewConsole(vmm, 'device=console'), /404/);
  const { code, stderr } = await chRemote(vmm, 'console', '--device', 'console', '--read-only');
  assert.equal(code, 1);
  assert.match(stderr, /NotFound.*The mode of console is Off/);
});

/** Returns the name of QEMU's back-end of the serial port. */
async function backendOf(monitor: Monitor): Promise<string | undefined> {
  const [text = ''] = await monitor.ask('info chardev');
  return /serial[^:\n]*: filename=(.*?)\r?$/m.exec(text)?.[1];
}

/** Lines that the guest prints while a viewer connects, and the line at which it does. */
const COUNT = 40_000;
const CONNECT_AT = 5000;

const COUNTING = `i=0; while [ $i -lt ${COUNT} ]; do echo n$i; i=$((i+1)); [ $i = ${CONNECT_AT} ] && echo con""nect >/dev/hvc0; done`;

for (const [mode, own] of [
  ['Null', 'ringbuf'],
  ['File', 'file'],
] as const) {
  test(`the first viewer of a serial port in mode ${mode} loses no byte`, async () => {
    using monitor = openMonitor();
    await using vmm = await startVmm({ env: monitor.env });
    const file = join(vmm.folder, 'serial.log');
    const config = guestConfig({ serial: { mode, file }, console: { mode: 'Pty' } });
    await createAndBoot(vmm, config);
    using shell = await login(vmm, 'console');
    assert.equal(await backendOf(monitor), own);

    shell.type(`(${COUNTING}; echo END) >/dev/ttyS0 &\r`);
    await shell.sees('connect');
    const viewer = await viewConsole(vmm, SERIAL);
    assert.match(String(await backendOf(monitor)), /^unix:/);
    const sent = viewer.bytes().toString('latin1');
    assert.ok(!sent.includes('END\r\n'), 'the viewer connects while the guest writes');
    await until('all has arrived', () => viewer.bytes().includes('END\r\n'));
    const text = viewer.bytes().toString('latin1');
    assert.match(text, /Linux version 6\./);
    const counted = [...text.matchAll(/^n(\d+)\r$/gm)].map(([, number]) => Number(number));
    assert.deepEqual(counted, [...Array(COUNT).keys()]);
    assert.deepEqual(viewer.reports(), [{ type: 'position', position: 0, lost: 0 }]);
    if (mode === 'File') await until('the file has it', () => readFileSync(file).equals(viewer.bytes()));

    // without a viewer the next machine begins with QEMU's back-end; a viewer of a paused VM leaves it paused
    const { length } = await viewer.leave();
    assertStatus(await vmm.put('vm.reboot'), 204);
    assert.equal(await backendOf(monitor), own);
    await shell.login();
    assertStatus(await vmm.put('vm.pause'), 204);
    const late = await viewConsole(vmm, `${SERIAL}&after=${length}`);
    await until('the new output has arrived', () => late.bytes().includes('login:'));
    assert.match(late.bytes().toString('latin1'), /Linux version 6\./);
    assert.deepEqual(late.reports(), [{ type: 'position', position: length, lost: 0 }]);
    assert.match(String(await monitor.ask('info status')), /paused/);
    assertStatus(await vmm.put('vm.resume'), 204);
    late.shell.type('\r');
    await late.shell.login();
    assert.equal(await late.shell.run('tty'), '/dev/ttyS0');
  });
}

test('a FIFO gets the output beside a viewer, and keeps it where the viewer is refused', async () => {
  using monitor = openMonitor();
  await using vmm = await startVmm({ env: monitor.env });
  const file = join(vmm.folder, 'fifo');
  execFileSync('mkfifo', [file]);
  const flags = constants.O_RDONLY | constants.O_NONBLOCK;
  const first = await open(file, flags);
  await createAndBoot(vmm, guestConfig({ serial: { mode: 'File', file }, console: { mode: 'Pty' } }));
  using shell = await login(vmm, 'console');
  await first.close();
  await assert.rejects(viewConsole(vmm, SERIAL), /500/);
  assert.equal(await backendOf(monitor), 'file');

  await using reader = await open(file, flags);
  const viewer = await viewConsole(vmm, SERIAL);
  await shell.run('echo be""side >/dev/ttyS0');
  await until('the viewer has it', () => viewer.bytes().includes('beside'));
  let read = '';
  await until('the FIFO has it', async () => {
    const { buffer, bytesRead } = await reader.read(Buffer.alloc(65_536)).catch(() => NOTHING);
    read += buffer.subarray(0, bytesRead).toString('latin1');
    return read.includes('beside');
  });
});

/** Result of a read of an empty FIFO. */
const NOTHING = { buffer: Buffer.alloc(0), bytesRead: 0 };
