// Outputs without a reader (a terminal stopped with Ctrl-S, pipes) delay neither the API nor signals nor the exit.
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from '../src/sdk/client.ts';
import { openPty } from '../src/host/console/pty.ts';
import { assertStatus } from './support/answers.ts';
import { createAndBoot, login } from './support/boot.ts';
import { guestConfig, INITRAMFS, KERNEL } from './support/guest.ts';
import { stateOf } from './support/vm-info.ts';
import { call, makeFolder, REPO, startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** Time limit of an exit, in milliseconds: a second for the outputs, the rest for a busy host. */
const END_MS = 15_000;

/** Fails where a VMM takes longer than {@link END_MS} to end after a signal. */
async function endsWith(code: number, exited: Promise<number | string>): Promise<void> {
  const late = new Promise<string>((resolve) => setTimeout(resolve, END_MS, 'nothing within time').unref());
  assert.equal(await Promise.race([exited, late]), code);
}

for (const [which, other] of [
  ['serial', 'console'],
  ['console', 'serial'],
] as const) {
  test(`${which} on an unread terminal blocks neither API, other console nor SIGTERM`, async () => {
    const terminal = await openPty();
    const settings = (): string => execFileSync('stty', ['-F', terminal.path, '-g'], { encoding: 'utf8' });
    execFileSync('stty', ['-F', terminal.path, 'sane']);
    const before = settings();
    try {
      await using vmm = await startVmm({ terminal: terminal.path });
      const device = which === 'serial' ? 'ttyS0' : 'hvc0';
      const config = {
        [which]: { mode: 'Tty' },
        [other]: { mode: 'Pty' },
        cmdline: { args: 'console=hvc0 console=ttyS0' },
      };
      await createAndBoot(vmm, guestConfig(config));
      using shell = await login(vmm, other);
      // more than any terminal takes, less than the queue for a slow one
      await shell.run(`seq 1 30000 >/dev/${device}`);
      assert.equal(await shell.run('echo alive'), 'alive');
      assert.equal(await stateOf(vmm), 'Running');
      assertStatus(await vmm.get('vmm.ping'), 200);
      vmm.kill('SIGTERM');
      await endsWith(0, vmm.exited);
      assert.equal(settings(), before);
    } finally {
      terminal.dispose();
    }
  });
}

/** A VMM whose standard streams are given; ended by the test. */
function launch(
  socket: string,
  args: readonly string[],
  stdio: (number | 'pipe' | 'ignore')[],
): ChildProcess {
  const words = [join(REPO, 'bin/cloud-hypervisor'), '--api-socket', `path=${socket}`, ...args];
  return spawn(process.execPath, words, { stdio });
}

/** Bytes that a process has read so far: for a VMM, mostly output of its guest. */
function bytesReadBy({ pid }: ChildProcess): number {
  return Number(/^rchar: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))?.[1]);
}

function endOf(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
}

test('unread pipes of output and error block neither API, vmm.shutdown nor SIGTERM', async () => {
  const folder = makeFolder();
  const socket = join(folder, 'api.sock');
  // a third of a MiB, more than a pipe or socket takes
  const cmdline = 'console=ttyS0 nephos.run="seq 1 60000"';
  const guest = ['--kernel', KERNEL, '--initramfs', INITRAMFS, '--cmdline', cmdline];
  for (const end of ['SIGTERM', 'vmm.shutdown'] as const) {
    // -vvv: QMP alone fills a pipe
    const child = launch(
      socket,
      ['-vvv', ...guest, '--serial', 'tty', '--console', 'off'],
      ['ignore', 'pipe', 'pipe'],
    );
    const exited = endOf(child);
    try {
      await until('the VM runs', async () => {
        return (await new Client(socket).call('vm.info')).state === 'Running';
      });
      // each answer is a line of the log and QMP commands
      for (let i = 0; i < 200; i++) assertStatus(await call(socket, 'GET', { path: 'vm.info' }), 200);
      await until('the guest has written more than a socket takes', () => bytesReadBy(child) > 300_000);
      if (end === 'SIGTERM') child.kill('SIGTERM');
      else assertStatus(await call(socket, 'PUT', { path: end }), 204);
      await endsWith(0, exited);
    } finally {
      child.kill('SIGKILL');
      await exited;
    }
  }
  rmSync(folder, { recursive: true });
});

for (const fd of [1, 2]) {
  test(`events on descriptor ${fd}, an unread terminal, block nothing`, async () => {
    const terminal = await openPty();
    const slave = openSync(terminal.path, constants.O_RDWR | constants.O_NOCTTY);
    const folder = makeFolder();
    const socket = join(folder, 'api.sock');
    const stdio = [0, 1, 2].map((one) => (one === fd ? slave : 'ignore'));
    const child = launch(socket, ['--event-monitor', `fd=${fd}`], stdio);
    const exited = endOf(child);
    closeSync(slave);
    try {
      await until('it answers', async () => (await call(socket, 'GET', { path: 'vmm.ping' })).status === 200);
      const config = guestConfig({ kernel: { path: '/nowhere' } });
      // each failed boot is two events and a line of the log
      assertStatus(await call(socket, 'PUT', { path: 'vm.create', body: config }), 204);
      for (let i = 0; i < 100; i++) assertStatus(await call(socket, 'PUT', { path: 'vm.boot' }), 500);
      child.kill('SIGTERM');
      await endsWith(0, exited);
    } finally {
      child.kill('SIGKILL');
      await exited;
      terminal.dispose();
      rmSync(folder, { recursive: true });
    }
  });
}
