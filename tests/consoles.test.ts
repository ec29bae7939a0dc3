// Serial port and virtio console in the modes Off, Null, File and Pty, in the guest and on the host.
// (Tty: terminal.test.ts)
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { guestConfig, INITRAMFS, KERNEL } from './support/guest.ts';
import { infoOf } from './support/vm-info.ts';
import { assertPasteArrives } from './support/console-input.ts';
import { openShell, ptyOf, shellOn, type Shell } from './support/shell.ts';
import { until } from './support/wait.ts';
import { assertStatus, makeFolder, startVmm, type TestVmm } from './support/vmm.ts';

type Mode = { readonly mode: string; readonly file?: string };

/** The demo guest with both consoles as given. Its kernel writes to both, and to `all` from the start. */
async function boot(vmm: TestVmm, serial: Mode, console: Mode, all = 'ttyS0'): Promise<void> {
  const args = `console=hvc0 console=ttyS0 console=${all}`;
  assertStatus(await vmm.put('vm.create', guestConfig({ serial, console, cmdline: { args } })), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
}

async function login(vmm: TestVmm, which: 'serial' | 'console'): Promise<Shell> {
  const shell = openShell(await ptyOf(vmm, which));
  await shell.login();
  return shell;
}

/** The text in a file that the guest may still be writing. */
function textOf(path: string): string {
  return existsSync(path) ? readFileSync(path, 'latin1') : '';
}

const PTY = { mode: 'Pty' };
const pciDevices = 'cat /sys/bus/pci/devices/*/device | tr "\\n" " "';
const CONSOLE_DEVICE = '0x1043';

test('serial Off: the guest has no UART; console Pty: hvc0 alone serves', async () => {
  await using vmm = await startVmm();
  await boot(vmm, { mode: 'Off' }, PTY);
  using shell = await login(vmm, 'console');
  assert.equal(await shell.run('tty'), '/dev/hvc0');
  assert.equal(await shell.run('cat /sys/class/tty/ttyS0/type'), '0');
  assert.equal(await shell.run('grep -c ttyS0 /proc/interrupts'), '0');
  assert.match(await shell.run('echo lost 2>&1 >/dev/ttyS0'), /Input\/output error/);
  const info = await infoOf(vmm);
  assert.deepEqual(info.config.serial.mode, 'Off');
  assert.ok(!('file' in info.config.serial));
  assert.ok(!('_serial' in (info.device_tree ?? {})) && '_console' in (info.device_tree ?? {}));
});

test('console Off: the guest has no virtio console; serial Pty: ttyS0 alone serves', async () => {
  await using vmm = await startVmm();
  await boot(vmm, PTY, { mode: 'Off' });
  using shell = await login(vmm, 'serial');
  assert.equal(await shell.run('tty'), '/dev/ttyS0');
  assert.match(await shell.run('cat /proc/tty/driver/serial'), /^0: uart:16550A port:000003F8 irq:4 /m);
  assert.doesNotMatch(await shell.run(pciDevices), new RegExp(CONSOLE_DEVICE));
  // some kernels make the node although no console is behind it, but it cannot be opened
  assert.equal(await shell.run('{ [ -c /dev/hvc0 ] && (: <>/dev/hvc0) 2>/dev/null; } || echo none'), 'none');
  const info = await infoOf(vmm);
  assert.ok(!('file' in info.config.console));
  assert.ok('_serial' in (info.device_tree ?? {}) && !('_console' in (info.device_tree ?? {})));
});

test('serial Null: the UART is there and takes output, which goes nowhere', async () => {
  await using vmm = await startVmm();
  await boot(vmm, { mode: 'Null' }, PTY);
  using shell = await login(vmm, 'console');
  assert.equal(await shell.run('cat /sys/class/tty/ttyS0/type'), '4');
  assert.equal(await shell.run('echo swallowed >/dev/ttyS0 && echo written'), 'written');
  assert.ok('_serial' in ((await infoOf(vmm)).device_tree ?? {}));
  assert.ok(!('file' in (await infoOf(vmm)).config.serial));
  assert.doesNotMatch(vmm.output(), /swallowed|Linux version|login:/);
  assert.doesNotMatch(shell.shown(), /swallowed/);
});

test('console Null: the virtio console is there and takes output, which goes nowhere', async () => {
  await using vmm = await startVmm();
  await boot(vmm, PTY, { mode: 'Null' });
  using shell = await login(vmm, 'serial');
  assert.match(await shell.run(pciDevices), new RegExp(CONSOLE_DEVICE));
  assert.equal(await shell.run('echo swallowed >/dev/hvc0 && echo written'), 'written');
  assert.ok('_console' in ((await infoOf(vmm)).device_tree ?? {}));
  assert.ok(!('file' in (await infoOf(vmm)).config.console));
  assert.doesNotMatch(vmm.output(), /swallowed|Linux version|login:/);
});

test('serial File: the boot log is in the file, which is ours alone and starts anew at each boot', async () => {
  await using vmm = await startVmm();
  const file = join(vmm.folder, `a log, "mode=tty" 'path' Ω=é,id=x`);
  writeFileSync(file, 'what was there before', { mode: 0o600 });
  await boot(vmm, { mode: 'File', file }, PTY);
  using shell = await login(vmm, 'console');
  assert.match(textOf(file), /Linux version 6\..*NEPHOS-USERSPACE/s);
  assert.doesNotMatch(textOf(file), /what was there before/);
  await shell.run('echo first life >/dev/ttyS0');
  await until('the file has the line', () => textOf(file).includes('first life'));
  assert.equal((await infoOf(vmm)).config.serial.file, file);

  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  assert.match(textOf(file), /Linux version 6\..*NEPHOS-USERSPACE/s);
  assert.doesNotMatch(textOf(file), /first life/);

  assertStatus(await vmm.put('vm.shutdown'), 204);
  // a file that the user named is the user's: it stays, in the answer too
  assert.match(textOf(file), /Linux version/);
  assert.equal((await infoOf(vmm)).config.serial.file, file);
});

test('console File: what the guest writes to hvc0 is in a file of mode 0600, complete', async () => {
  await using vmm = await startVmm();
  const file = join(vmm.folder, 'console.log');
  await boot(vmm, PTY, { mode: 'File', file }, 'hvc0');
  using shell = await login(vmm, 'serial');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  // this console comes late in the boot: what the kernel said before went to the serial port alone
  await until('the boot log is in the file', () => /\[ .*\n.*NEPHOS-USERSPACE/s.test(textOf(file)));
  await shell.run('stty -F /dev/hvc0 -opost; head -c 786432 /dev/urandom | base64 -w 0 >/tmp/text');
  await shell.run('(echo; echo BEGIN; cat /tmp/text; echo; echo END) >/dev/hvc0');
  const sum = (await shell.run('sha256sum </tmp/text')).split(' ')[0];
  await until('all of it is in the file', () => /\nBEGIN\n.*\nEND\n/s.test(textOf(file)));
  const text = /\nBEGIN\n(.*)\nEND\n/s.exec(textOf(file))?.[1] ?? '';
  assert.equal(text.length, 2 ** 20);
  assert.equal(createHash('sha256').update(text).digest('hex'), sum);
});

test('both as PTYs at once: logins on both, paths kept over a reboot and gone after shutdown', async () => {
  await using vmm = await startVmm();
  await boot(vmm, PTY, PTY);
  const [serial, console] = [await ptyOf(vmm, 'serial'), await ptyOf(vmm, 'console')];
  assert.notEqual(serial, console);
  for (const path of [serial, console]) assert.ok(statSync(path).isCharacterDevice());
  const lines = async (): Promise<void> => {
    using onConsole = openShell(console);
    using onSerial = openShell(serial);
    await Promise.all([onConsole.login(), onSerial.login()]);
    assert.equal(await onConsole.run('tty'), '/dev/hvc0');
    assert.equal(await onSerial.run('tty'), '/dev/ttyS0');
    // what is typed into one does not arrive at the other
    const [before, inBoth] = [onSerial.shown(), 'typed-into-the-console'];
    assert.equal(await onConsole.run(`echo ${inBoth}`), inBoth);
    assert.equal(await onSerial.run('echo here'), 'here');
    assert.ok(!onSerial.shown().slice(before.length).includes(inBoth));
  };
  await lines();
  assertStatus(await vmm.put('vm.reboot'), 204);
  assert.deepEqual([await ptyOf(vmm, 'serial'), await ptyOf(vmm, 'console')], [serial, console]);
  await lines();

  assertStatus(await vmm.put('vm.shutdown'), 204);
  const { config } = await infoOf(vmm);
  assert.ok(!('file' in config.serial) && !('file' in config.console), JSON.stringify(config));
  assertStatus(await vmm.put('vm.boot'), 204);
  using again = await login(vmm, 'serial');
  assert.equal(await again.run('echo again'), 'again');
});

test('a reader of a PTY may come late, and a PTY that nobody reads does not stop the guest', async () => {
  await using vmm = await startVmm();
  await boot(vmm, PTY, PTY);
  using shell = await login(vmm, 'console');
  const late = openShell(await ptyOf(vmm, 'serial'));
  await late.sees('Linux version 6.');
  await late.sees('login:');
  late[Symbol.dispose]();
  // far more than the kernel and the VMM keep of it
  await shell.run('seq 1 40000 >/dev/ttyS0; echo the newest line >/dev/ttyS0');
  const later = openShell(await ptyOf(vmm, 'serial'));
  await later.sees('the newest line');
  // two readers of one terminal would take each other's bytes
  later[Symbol.dispose]();
  assert.equal(await shell.run('echo alive'), 'alive');

  using quiet = openShell(await ptyOf(vmm, 'serial'));
  quiet.type('\r');
  await quiet.login();
  shell[Symbol.dispose]();
  await quiet.run('head -c 2097152 /dev/zero | tr "\\0" x >/dev/hvc0');
  assert.equal(await quiet.run('echo alive'), 'alive');
});

for (const which of ['serial', 'console'] as const) {
  test(`a MiB of output of the ${which} and a paste arrive complete, though the VMM often gets no processor`, async () => {
    await using vmm = await startVmm();
    const [serial, console] = which === 'serial' ? [PTY, { mode: 'Off' }] : [{ mode: 'Off' }, PTY];
    await boot(vmm, serial, console);
    using shell = await login(vmm, which);
    await shell.run('head -c 786432 /dev/urandom >/tmp/bytes');
    const sum = (await shell.run('sha256sum /tmp/bytes')).split(' ')[0];
    // a serial port is slow enough as it is
    const goOn = which === 'console' ? stall(vmm) : () => undefined;
    const text = (await shell.run('base64 /tmp/bytes')).replaceAll('\n', '');
    goOn();
    assert.equal(text.length, 2 ** 20);
    assert.equal(createHash('sha256').update(Buffer.from(text, 'base64')).digest('hex'), sum);
    await assertPasteArrives(shell);
  });
}

/** How long the VMM is stopped, and how long it runs in between, in milliseconds. */
const STALL_MS = 150;

/** Stops the VMM again and again, as a busy host does, until the returned function is called. */
function stall(vmm: TestVmm): () => void {
  let isStopped = false;
  const timer = setInterval(() => {
    isStopped = !isStopped;
    vmm.kill(isStopped ? 'SIGSTOP' : 'SIGCONT');
  }, STALL_MS);
  return () => {
    clearInterval(timer);
    vmm.kill('SIGCONT');
  };
}

/** A client of a console's socket: its terminal, and the connection. */
function onSocket(path: string): Shell & { readonly socket: Socket } {
  const socket = connect(path);
  socket.on('error', () => undefined);
  const shell = shellOn({
    write: (text) => void socket.write(text),
    onData: (take) => void socket.on('data', take),
    close: () => void socket.destroy(),
  });
  return { ...shell, socket };
}

test('serial Socket: one client at a time, the newest output without one, the file gone at the end', async () => {
  const folder = makeFolder();
  const path = join(folder, "the port, 'of' ü").padEnd(106, 'x');
  assert.equal(Buffer.byteLength(path), 107);
  const words = `socket="${path}"`;
  const boots = ['--kernel', KERNEL, '--initramfs', INITRAMFS, '--cmdline', 'console=hvc0 console=ttyS0'];
  try {
    await using vmm = await startVmm({ args: [...boots, '--serial', words, '--console', 'pty'] });
    await until('the VM runs', async () => (await infoOf(vmm)).state === 'Running');
    const { serial } = (await infoOf(vmm)).config;
    assert.deepEqual([serial.mode, (serial as { socket?: string }).socket], ['Socket', path]);
    assert.ok(vmm.output().includes(`INFO:console -- console: PTY ${await ptyOf(vmm, 'console')}\n`));
    using shell = await login(vmm, 'console');
    // what the guest said before anybody came
    using first = onSocket(path);
    await first.sees('Linux version 6.');
    first.type('\r');
    await first.login();
    assert.equal(await first.run('tty'), '/dev/ttyS0');
    using second = onSocket(path);
    await until('the first client is let go', () => first.socket.destroyed);
    assert.equal(await second.run('echo the second'), 'the second');
    await second.run('stty sane -echo');
    await assertPasteArrives(second);

    // a client that does not read must not stop the guest, nor may one that is not there
    second.socket.pause();
    await shell.run('seq 1 60000 >/dev/ttyS0; echo the newest line >/dev/ttyS0');
    second.socket.destroy();
    await shell.run('seq 1 20000 >/dev/ttyS0; echo the last line >/dev/ttyS0');
    const third = onSocket(path);
    await third.sees('the last line');
    assert.ok(!third.shown().includes('the newest line'));

    assertStatus(await vmm.put('vm.reboot'), 204);
    await third.sees('Linux version 6.');
    assertStatus(await vmm.put('vm.shutdown'), 204);
    await until('the client is let go', () => third.socket.destroyed);
    assert.ok(!existsSync(path));

    writeFileSync(path, 'somebody’s');
    const refused = await vmm.put('vm.boot');
    assertStatus(refused, 500);
    assert.match(
      JSON.stringify(refused.json),
      /serial _serial: .*the port.*something that is not a socket is there/,
    );
    assert.equal(readFileSync(path, 'utf8'), 'somebody’s');
    rmSync(path);
    assertStatus(await vmm.put('vm.boot'), 204);
    assertStatus(await vmm.put('vm.delete'), 204);
    assert.ok(!existsSync(path));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
