// A vsock device through snapshots: QEMU cannot save it, its guest must not notice.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectVsock } from '../src/sdk/vsock.ts';
import { assertStatus } from './support/answers.ts';
import { boot, createAndBoot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { openShell, type Shell } from './support/shell.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { ptyOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { exchange, listenOn, startEcho } from './support/vsock.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const ECHO_PORT = 16;
const HOST_PORT = 7;

/** A stream with what has come over it so far. */
interface Stream {
  readonly socket: Socket;
  readonly got: () => string;
}

function follow(socket: Socket): Stream {
  let got = '';
  // a test that fails must not wait for it
  socket.unref();
  socket.on('data', (bytes: Buffer) => (got += bytes.toString('latin1'))).on('error', () => undefined);
  return { socket, got: () => got };
}

async function says({ socket, got }: Stream, text: string): Promise<void> {
  const before = got();
  socket.write(text);
  await until(`the echo of ${text}`, () => got() === before + text);
}

async function bootWithEcho(vmm: TestVmm, socket: string): Promise<Shell> {
  const shell = await boot(vmm, { vsock: { cid: 5, socket } }, { tools: true });
  await startEcho(shell, ECHO_PORT);
  return shell;
}

async function snapshot(vmm: TestVmm, name: string): Promise<string> {
  const path = join(vmm.folder, name);
  await takeSnapshot(vmm, path);
  return path;
}

async function restore(vmm: TestVmm, path: string, vsock: object): Promise<Shell> {
  const request = { source_url: `file://${path}`, overrides: { vsock }, resume: true };
  assertStatus(await vmm.put('vm.restore', request), 204);
  return openShell(await ptyOf(vmm));
}

/** Both directions, with more than the rings hold. */
async function works(socket: string, shell: Shell): Promise<void> {
  assert.match(await exchange(socket, `CONNECT ${ECHO_PORT}\nhello`), /^OK \d+\nhello$/);
  const large = 'x'.repeat(3 * MIB);
  assert.equal((await exchange(socket, `CONNECT ${ECHO_PORT}\n${large}`)).slice(-large.length), large);
  const server = await listenOn(`${socket}_${HOST_PORT}`, (from) => {
    let bytes = 0;
    from.on('data', (data: Buffer) => (bytes += data.length));
    from.on('end', () => from.end(`host got ${bytes}`));
  });
  assert.equal(
    await shell.run(`head -c 3000000 /dev/zero | socat -t 60 - VSOCK-CONNECT:2:${HOST_PORT}`),
    'host got 3000000',
  );
  server.close();
}

test('the source’s streams go on, the copy’s listeners do, over generations and with other addresses', async () => {
  await using source = await startVmm();
  const socket = join(source.folder, 'v, "s" é');
  using shell = await bootWithEcho(source, socket);
  const kept = follow(await connectVsock(socket, ECHO_PORT));
  await says(kept, 'before');
  let dialled: Stream | undefined;
  const server = await listenOn(`${socket}_${HOST_PORT}`, (from) => (dialled = follow(from)));
  // no job of the shell's: the end of one takes busybox' shell along now and then
  const job = `socat VSOCK-CONNECT:2:${HOST_PORT} EXEC:cat; echo over > /tmp/over`;
  await shell.run(`(setsid sh -c '${job}' < /dev/null > /dev/null 2>&1 &)`);
  await until('the guest has connected', () => dialled !== undefined);
  server.close();
  assert.ok(dialled !== undefined);
  await says(dialled, 'there');
  await works(socket, shell);

  // twice, as the rings are elsewhere each time
  for (const name of ['first', 'second']) {
    await snapshot(source, name);
    const late = exchange(socket, `CONNECT ${ECHO_PORT}\nmeanwhile`);
    assertStatus(await source.put('vm.resume'), 204);
    assert.match(await late, /^OK \d+\nmeanwhile$/);
    await says(kept, 'after');
    await says(dialled, 'still there');
    await works(socket, shell);
  }
  assert.equal(await shell.run('dmesg | grep -ci -e "virtio.*\\(fail\\|error\\)" -e "pci.*removed"'), '0');
  assert.equal(await shell.run('test -e /tmp/over; echo $?'), '1');

  await using clone = await startVmm();
  const second = join(clone.folder, 'w');
  using restored = await restore(clone, join(source.folder, 'second'), { socket: second });
  await restored.run('until [ -e /tmp/over ]; do :; done');
  await works(second, restored);
  await says(kept, 'and the source does not mind');

  const third = join(clone.folder, 'x');
  const generation = await snapshot(clone, 'third');
  assertStatus(await clone.put('vm.delete'), 204);
  assert.equal(existsSync(second), false);
  using other = await restore(clone, generation, { socket: third, cid: 77 });
  const ask =
    'open(V, "<", "/dev/vsock") or die $!; my $c = pack("L", 0); ioctl(V, 0x7b9, $c) or die $!; print unpack("L", $c)';
  await other.run(`until [ "$(perl -e '${ask}')" = 77 ]; do :; done`);
  await works(third, other);

  // a device as any other: it is let go, and there is none after a reboot
  assertStatus(await clone.put('vm.remove-device', { id: '_vsock0' }), 204);
  await until('the guest has let it go', () => !existsSync(third));
  assertStatus(await clone.put('vm.add-vsock', { cid: 9, socket: third }), 200);
  await other.run(`until [ "$(perl -e '${ask}')" = 9 ]; do :; done`);
  await works(third, other);
  const end = once(kept.socket, 'end');
  assertStatus(await source.put('vm.reboot'), 204);
  await end;
});

test('a guest that does not know of the device yet finds it later, in the VM that was saved and in the copy', async () => {
  await using source = await startVmm();
  const socket = join(source.folder, 'v');
  await createAndBoot(source, guestConfig({ vsock: { cid: 5, socket } }, { tools: true }));
  // its firmware is still at work
  const path = await snapshot(source, 'early');
  assertStatus(await source.put('vm.resume'), 204);
  using shell = openShell(await ptyOf(source));
  await using clone = await startVmm();
  const second = join(clone.folder, 'w');
  using other = await restore(clone, path, { socket: second, cid: 6 });
  await Promise.all([shell.login(), other.login()]);
  for (const [guest, at] of [
    [shell, socket],
    [other, second],
  ] as const) {
    await startEcho(guest, ECHO_PORT);
    await works(at, guest);
  }
  assert.equal(clone.output().includes('does not hear of its new address'), false);
});

test('a moved guest keeps its listeners, its open streams are over', async () => {
  const [hereFolder, thereFolder] = [makeFolder(), makeFolder()];
  // each VMM makes the socket where it stands
  await using here = await startVmm({ through: ['env', '--chdir', hereFolder] });
  await using there = await startVmm({ through: ['env', '--chdir', thereFolder] });
  using _shell = await bootWithEcho(here, 'v.sock');
  const kept = follow(await connectVsock(join(hereFolder, 'v.sock'), ECHO_PORT));
  await says(kept, 'before');

  // one that fails leaves everything as it was
  const nowhere = join(here.folder, 'nobody');
  assertStatus(await here.put('vm.send-migration', { destination_url: `unix:${nowhere}` }), 500);
  await says(kept, 'still here');

  const link = join(there.folder, 'link');
  const receiving = there.put('vm.receive-migration', { receiver_url: `unix:${link}` });
  await until('it listens', () => existsSync(link), there.output);
  assertStatus(await here.put('vm.send-migration', { destination_url: `unix:${link}` }), 204);
  assertStatus(await receiving, 204);
  using moved = openShell(await ptyOf(there));
  await works(join(thereFolder, 'v.sock'), moved);
  assertStatus(await here.put('vm.delete'), 204);
  await works(join(thereFolder, 'v.sock'), moved);
  assert.equal(existsSync(join(hereFolder, 'v.sock')), false);
  assert.equal(await moved.run('dmesg | grep -ci -e "virtio.*\\(fail\\|error\\)" -e "pci.*removed"'), '0');
  for (const folder of [hereFolder, thereFolder]) rmSync(folder, { recursive: true });
});
