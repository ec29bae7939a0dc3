// Serial port and virtio console in the modes Off, Null, File, Pty and Socket, in the guest and on the host.
// (Tty: terminal.test.ts)
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { createAndBoot, login } from './support/boot.ts';
import { assertPasteArrives } from './support/console-input.ts';
import { guestConfig, INITRAMFS, KERNEL } from './support/guest.ts';
import { openShell, openShellOnSocket } from './support/shell.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { infoOf, ptyOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

type Mode = { readonly mode: string; readonly file?: string };

/** The demo guest with both consoles as given. Its kernel writes to both, and to `all` from the start. */
async function boot(vmm: TestVmm, serial: Mode, console: Mode, all = 'ttyS0'): Promise<void> {
  const args = `console=hvc0 console=ttyS0 console=${all}`;
  await createAndBoot(vmm, guestConfig({ serial, console, cmdline: { args } }));
}

/** The text in a file that the guest may still be writing. */
function textOf(path: string): string {
  return existsSync(path) ? readFileSync(path, 'latin1') : '';
}

const PTY = { mode: 'Pty' };
const pciDevices = 'cat /sys/bus/pci/devices/*/device | tr "\\n" " "';
const CONSOLE_DEVICE = '0x1043';

test('serial Off', async (t) => {
  await using vmm = await startVmm();
  await boot(vmm, { mode: 'Off' }, PTY);
  using shell = await login(vmm, 'console');
  await t.test('the guest logs in on hvc0', async () => {
    assert.equal(await shell.run('tty'), '/dev/hvc0');
  });
  await t.test('the guest has no UART', async () => {
    assert.equal(await shell.run('cat /sys/class/tty/ttyS0/type'), '0');
    assert.equal(await shell.run('grep -c ttyS0 /proc/interrupts'), '0');
    assert.match(await shell.run('echo lost 2>&1 >/dev/ttyS0'), /Input\/output error/);
  });
  await t.test('vm.info has neither a file nor a node of the serial port', async () => {
    const info = await infoOf(vmm);
    assert.deepEqual(info.config.serial.mode, 'Off');
    assert.ok(!('file' in info.config.serial));
    assert.ok(!('_serial' in (info.device_tree ?? {})) && '_console' in (info.device_tree ?? {}));
  });
});

test('console Off', async (t) => {
  await using vmm = await startVmm();
  await boot(vmm, PTY, { mode: 'Off' });
  using shell = await login(vmm, 'serial');
  await t.test('the guest logs in on ttyS0', async () => {
    assert.equal(await shell.run('tty'), '/dev/ttyS0');
    assert.match(await shell.run('cat /proc/tty/driver/serial'), /^0: uart:16550A port:000003F8 irq:4 /m);
  });
  await t.test('the guest has no virtio console', async () => {
    assert.doesNotMatch(await shell.run(pciDevices), new RegExp(CONSOLE_DEVICE));
    // some kernels make the node although no console is behind it, but it cannot be opened
    assert.equal(
      await shell.run('{ [ -c /dev/hvc0 ] && (: <>/dev/hvc0) 2>/dev/null; } || echo none'),
      'none',
    );
  });
  await t.test('vm.info has neither a file nor a node of the console', async () => {
    const info = await infoOf(vmm);
    assert.ok(!('file' in info.config.console));
    assert.ok('_serial' in (info.device_tree ?? {}) && !('_console' in (info.device_tree ?? {})));
  });
});

test('serial Null: the UART discards what the guest writes', async () => {
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

test('console Null: the virtio console discards what the guest writes', async () => {
  await using vmm = await startVmm();
  await boot(vmm, PTY, { mode: 'Null' });
  using shell = await login(vmm, 'serial');
  assert.match(await shell.run(pciDevices), new RegExp(CONSOLE_DEVICE));
  assert.equal(await shell.run('echo swallowed >/dev/hvc0 && echo written'), 'written');
  assert.ok('_console' in ((await infoOf(vmm)).device_tree ?? {}));
  assert.ok(!('file' in (await infoOf(vmm)).config.console));
  assert.doesNotMatch(vmm.output(), /swallowed|Linux version|login:/);
});

test('serial File', async (t) => {
  await using vmm = await startVmm();
  const file = join(vmm.folder, `a log, "mode=tty" 'path' Ω=é,id=x`);
  writeFileSync(file, 'what was there before', { mode: 0o600 });
  await boot(vmm, { mode: 'File', file }, PTY);
  using shell = await login(vmm, 'console');
  await t.test('the boot truncates the file and writes the boot log to it', () => {
    assert.match(textOf(file), /Linux version 6\..*NEPHOS-USERSPACE/s);
    assert.doesNotMatch(textOf(file), /what was there before/);
  });
  await t.test('the guest writes to the file, which vm.info names', async () => {
    await shell.run('echo first boot >/dev/ttyS0');
    await until('the file has the line', () => textOf(file).includes('first boot'));
    assert.equal((await infoOf(vmm)).config.serial.file, file);
  });

  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await t.test('a reboot truncates the file', () => {
    assert.match(textOf(file), /Linux version 6\..*NEPHOS-USERSPACE/s);
    assert.doesNotMatch(textOf(file), /first boot/);
  });

  assertStatus(await vmm.put('vm.shutdown'), 204);
  await t.test('vm.shutdown keeps the file, also in vm.info', async () => {
    assert.match(textOf(file), /Linux version/);
    assert.equal((await infoOf(vmm)).config.serial.file, file);
  });
});

test('console File', async (t) => {
  await using vmm = await startVmm();
  const file = join(vmm.folder, 'console.log');
  await boot(vmm, PTY, { mode: 'File', file }, 'hvc0');
  using shell = await login(vmm, 'serial');
  await t.test('the file has mode 0600', () => {
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });
  await t.test('the boot log is in the file', async () => {
    // the kernel finds this console late in the boot: earlier messages are on the serial port only
    await until('the boot log is in the file', () => /\[ .*\n.*NEPHOS-USERSPACE/s.test(textOf(file)));
  });
  await t.test('1 MiB that the guest writes to hvc0 is in the file, complete', async () => {
    await shell.run('stty -F /dev/hvc0 -opost; head -c 786432 /dev/urandom | base64 -w 0 >/tmp/text');
    await shell.run('(echo; echo BEGIN; cat /tmp/text; echo; echo END) >/dev/hvc0');
    const sum = (await shell.run('sha256sum </tmp/text')).split(' ')[0];
    await until('all of it is in the file', () => /\nBEGIN\n.*\nEND\n/s.test(textOf(file)));
    const text = /\nBEGIN\n(.*)\nEND\n/s.exec(textOf(file))?.[1] ?? '';
    assert.equal(text.length, 2 ** 20);
    assert.equal(createHash('sha256').update(text).digest('hex'), sum);
  });
});

test('both consoles as PTYs', async (t) => {
  await using vmm = await startVmm();
  await boot(vmm, PTY, PTY);
  const [serial, console] = [await ptyOf(vmm, 'serial'), await ptyOf(vmm, 'console')];
  await t.test('they are two character devices', () => {
    assert.notEqual(serial, console);
    for (const path of [serial, console]) assert.ok(statSync(path).isCharacterDevice());
  });
  const lines = async (): Promise<void> => {
    using onConsole = openShell(console);
    using onSerial = openShell(serial);
    await Promise.all([onConsole.login(), onSerial.login()]);
    assert.equal(await onConsole.run('tty'), '/dev/hvc0');
    assert.equal(await onSerial.run('tty'), '/dev/ttyS0');
    // each console has its own input
    const [before, inBoth] = [onSerial.shown(), 'typed-into-the-console'];
    assert.equal(await onConsole.run(`echo ${inBoth}`), inBoth);
    assert.equal(await onSerial.run('echo here'), 'here');
    assert.ok(!onSerial.shown().slice(before.length).includes(inBoth));
  };
  await t.test('each has a login and input of its own', lines);
  assertStatus(await vmm.put('vm.reboot'), 204);
  await t.test('their paths stay over a reboot', async () => {
    assert.deepEqual([await ptyOf(vmm, 'serial'), await ptyOf(vmm, 'console')], [serial, console]);
  });
  await t.test('each has a login after a reboot', lines);

  assertStatus(await vmm.put('vm.shutdown'), 204);
  await t.test('vm.info shows no path after vm.shutdown', async () => {
    const { config } = await infoOf(vmm);
    assert.ok(!('file' in config.serial) && !('file' in config.console), JSON.stringify(config));
  });
  await t.test('the next boot has a PTY', async () => {
    assertStatus(await vmm.put('vm.boot'), 204);
    using again = await login(vmm, 'serial');
    assert.equal(await again.run('echo again'), 'again');
  });
});

test('PTYs without a reader', async (t) => {
  await using vmm = await startVmm();
  await boot(vmm, PTY, PTY);
  using shell = await login(vmm, 'console');
  await t.test('a reader that opens the PTY after the boot reads the boot log', async () => {
    const late = openShell(await ptyOf(vmm, 'serial'));
    await late.sees('Linux version 6.');
    await late.sees('login:');
    late[Symbol.dispose]();
  });
  await t.test('the newest output is kept where there is more than the buffer holds', async () => {
    // more than the buffers of kernel and VMM hold
    await shell.run('seq 1 40000 >/dev/ttyS0; echo the newest line >/dev/ttyS0');
    const later = openShell(await ptyOf(vmm, 'serial'));
    await later.sees('the newest line');
    later[Symbol.dispose]();
  });
  await t.test('the guest runs on', async () => {
    assert.equal(await shell.run('echo alive'), 'alive');
  });

  await t.test('a console without a reader does not block the guest', async () => {
    using quiet = openShell(await ptyOf(vmm, 'serial'));
    quiet.type('\r');
    await quiet.login();
    shell[Symbol.dispose]();
    await quiet.run('head -c 2097152 /dev/zero | tr "\\0" x >/dev/hvc0');
    assert.equal(await quiet.run('echo alive'), 'alive');
  });
});

for (const which of ['serial', 'console'] as const) {
  test(`${which} Pty: 1 MiB of output and a paste arrive whole, although the VMM is stopped often`, async () => {
    await using vmm = await startVmm();
    const [serial, console] = which === 'serial' ? [PTY, { mode: 'Off' }] : [{ mode: 'Off' }, PTY];
    await boot(vmm, serial, console);
    using shell = await login(vmm, which);
    await shell.run('head -c 786432 /dev/urandom >/tmp/bytes');
    const sum = (await shell.run('sha256sum /tmp/bytes')).split(' ')[0];
    // a serial port is slow by itself
    const goOn = which === 'console' ? stall(vmm) : () => undefined;
    const text = (await shell.run('base64 /tmp/bytes')).replaceAll('\n', '');
    goOn();
    assert.equal(text.length, 2 ** 20);
    assert.equal(createHash('sha256').update(Buffer.from(text, 'base64')).digest('hex'), sum);
    await assertPasteArrives(shell);
  });
}

/** Duration of a stop of the VMM, and of the time between two stops, in milliseconds. */
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

test('serial Socket', async (t) => {
  const folder = makeFolder();
  const path = join(folder, "the port, 'of' ü").padEnd(106, 'x');
  assert.equal(Buffer.byteLength(path), 107);
  const words = `socket="${path}"`;
  const boots = ['--kernel', KERNEL, '--initramfs', INITRAMFS, '--cmdline', 'console=hvc0 console=ttyS0'];
  try {
    await using vmm = await startVmm({ args: [...boots, '--serial', words, '--console', 'pty'] });
    await until('the VM runs', async () => (await infoOf(vmm)).state === 'Running');
    await t.test('vm.info shows mode and path', async () => {
      const { serial } = (await infoOf(vmm)).config;
      assert.deepEqual([serial.mode, serial.socket], ['Socket', path]);
    });
    await t.test('the log names the PTY of the other console', async () => {
      assert.ok(vmm.output().includes(`INFO:console -- console: PTY ${await ptyOf(vmm, 'console')}\n`));
    });
    using shell = await login(vmm, 'console');
    using first = openShellOnSocket(path);
    await t.test('a client receives the earlier output, and can log in', async () => {
      await first.sees('Linux version 6.');
      first.type('\r');
      await first.login();
      assert.equal(await first.run('tty'), '/dev/ttyS0');
    });
    using second = openShellOnSocket(path);
    await t.test('a second client takes the place of the first', async () => {
      await until('the first client is disconnected', () => first.socket.destroyed);
      assert.equal(await second.run('echo the second'), 'the second');
    });
    await t.test('a paste arrives whole', async () => {
      await second.run('stty sane -echo');
      await assertPasteArrives(second);
    });
    await t.test('a client that does not read does not block the guest', async () => {
      second.socket.pause();
      await shell.run('seq 1 60000 >/dev/ttyS0; echo the newest line >/dev/ttyS0');
      second.socket.destroy();
    });
    await t.test('without a client the newest output is kept', async () => {
      await shell.run('seq 1 20000 >/dev/ttyS0; echo the last line >/dev/ttyS0');
      using client = openShellOnSocket(path);
      await client.sees('the last line');
      assert.ok(!client.shown().includes('the newest line'));
    });
    await t.test('a clone has a socket and a file of its own', async () => {
      const source = await takeSnapshot(vmm);
      await using clone = await startVmm();
      const [socket, file] = [join(clone.folder, "a clone's port"), join(clone.folder, 'console.log')];
      const overrides = { serial: { socket }, console: { file } };
      const request = { source_url: `file://${source}`, resume: true, overrides };
      assertStatus(await clone.put('vm.restore', request), 204);
      using guest = openShellOnSocket(socket);
      assert.equal(await guest.run('tty; echo the clone >/dev/hvc0'), '/dev/ttyS0');
      await until('the file has the output', () => textOf(file).includes('the clone'));
      const { serial, console } = (await infoOf(clone)).config;
      assert.deepEqual([serial.mode, serial.socket], ['Socket', socket]);
      assert.deepEqual([console.mode, console.file], ['File', file]);
      assertStatus(await vmm.put('vm.resume'), 204);
    });
    using third = openShellOnSocket(path);
    await t.test('a client stays connected over a reboot', async () => {
      assertStatus(await vmm.put('vm.reboot'), 204);
      await third.sees('Linux version 6.');
    });
    await t.test('vm.shutdown disconnects the client and removes the socket', async () => {
      assertStatus(await vmm.put('vm.shutdown'), 204);
      await until('the client is disconnected', () => third.socket.destroyed);
      assert.ok(!existsSync(path));
    });

    await t.test('a file at the path is refused, and left as it is', async () => {
      writeFileSync(path, 'a file');
      const refused = await vmm.put('vm.boot');
      assertRefused(refused, 500, /serial _serial: .*the port.*something that is not a socket is there/);
      assert.equal(readFileSync(path, 'utf8'), 'a file');
    });
    rmSync(path, { force: true });
    await t.test('vm.delete removes the socket', async () => {
      assertStatus(await vmm.put('vm.boot'), 204);
      assertStatus(await vmm.put('vm.delete'), 204);
      assert.ok(!existsSync(path));
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
