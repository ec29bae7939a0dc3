// vsock devices in snapshots and migrations: QEMU cannot save them, so the VMM detaches and attaches them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, existsSync, readFileSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectVsock } from '../src/sdk/vsock.ts';
import { assertStatus } from './support/answers.ts';
import { boot, createAndBoot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { openShell, type Shell } from './support/shell.ts';
import { qemuOf } from './support/processes.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { ptyOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { exchange, listenOn, startEcho } from './support/vsock.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const ECHO_PORT = 16;
const HOST_PORT = 7;

/** A connection and what was received on it. */
interface Stream {
  readonly socket: Socket;
  readonly got: () => string;
}

function follow(socket: Socket): Stream {
  let got = '';
  // an open connection must not delay the end of a failed test
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

async function checksumOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of createReadStream(path)) hash.update(bytes as Buffer);
  return hash.digest('hex');
}

async function restore(vmm: TestVmm, path: string, vsock: object): Promise<Shell> {
  const request = { source_url: `file://${path}`, overrides: { vsock }, resume: true };
  assertStatus(await vmm.put('vm.restore', request), 204);
  return openShell(await ptyOf(vmm));
}

/** Connects in both directions and sends more than the rings hold. */
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

test('snapshots of a guest with open vsock connections, and its clones', async (t) => {
  await using source = await startVmm();
  const socket = join(source.folder, 'v, "s" é');
  using shell = await bootWithEcho(source, socket);
  const kept = follow(await connectVsock(socket, ECHO_PORT));
  await says(kept, 'before');
  let accepted: Stream | undefined;
  const server = await listenOn(`${socket}_${HOST_PORT}`, (from) => (accepted = follow(from)));
  // not a job of the shell: the end of a job sometimes ends busybox' shell
  const job = `socat VSOCK-CONNECT:2:${HOST_PORT} EXEC:cat; echo over > /tmp/over`;
  await shell.run(`(setsid sh -c '${job}' < /dev/null > /dev/null 2>&1 &)`);
  await until('the guest has connected', () => accepted !== undefined);
  server.close();
  const connection = accepted;
  assert.ok(connection !== undefined);
  await says(connection, 'there');
  await works(socket, shell);

  // twice: the rings are at other addresses each time
  for (const name of ['first', 'second']) {
    await snapshot(source, name);
    await t.test(
      `${name} snapshot: a connection that is made meanwhile is served after vm.resume`,
      async () => {
        const late = exchange(socket, `CONNECT ${ECHO_PORT}\nmeanwhile`);
        assertStatus(await source.put('vm.resume'), 204);
        assert.match(await late, /^OK \d+\nmeanwhile$/);
      },
    );
    await t.test(`${name} snapshot: connections in both directions stay open`, async () => {
      await says(kept, 'after');
      await says(connection, 'still there');
    });
    await t.test(`${name} snapshot: new connections can be made`, async () => {
      await works(socket, shell);
    });
  }
  await t.test("the guest's kernel reports no error, and its connection is open", async () => {
    assert.equal(await shell.run('dmesg | grep -ci -e "virtio.*\\(fail\\|error\\)" -e "pci.*removed"'), '0');
    assert.equal(await shell.run('test -e /tmp/over; echo $?'), '1');
  });

  const memory = join(source.folder, 'second', 'memory-ranges');
  const before = await checksumOf(memory);
  await using clone = await startVmm();
  const second = join(clone.folder, 'w');
  using restored = await restore(clone, join(source.folder, 'second'), { socket: second });
  await t.test('RAM of a clone is a private mapping of the snapshot', () => {
    const maps = readFileSync(`/proc/${qemuOf(clone.pid)}/maps`, 'utf8').split('\n');
    const kinds = maps.filter((line) => line.endsWith(memory)).map((line) => line.split(' ')[1]);
    assert.deepEqual([...new Set(kinds)], ['rw-p']);
  });
  await t.test('connections of the guest are closed in a clone', async () => {
    await restored.run('until [ -e /tmp/over ]; do :; done');
  });
  await t.test('a clone has connections at its own socket', async () => {
    await works(second, restored);
  });
  await t.test('connections of the source are unaffected, and the snapshot is unchanged', async () => {
    await says(kept, 'and the source does not mind');
    assert.equal(await checksumOf(memory), before);
  });

  const third = join(clone.folder, 'x');
  const generation = await snapshot(clone, 'third');
  assertStatus(await clone.put('vm.delete'), 204);
  await t.test('vm.delete removes the socket of a clone', () => {
    assert.equal(existsSync(second), false);
  });
  using other = await restore(clone, generation, { socket: third, cid: 77 });
  const ask =
    'open(V, "<", "/dev/vsock") or die $!; my $c = pack("L", 0); ioctl(V, 0x7b9, $c) or die $!; print unpack("L", $c)';
  await t.test('a clone of the clone has another CID and socket', async () => {
    await other.run(`until [ "$(perl -e '${ask}')" = 77 ]; do :; done`);
    await works(third, other);
  });

  await t.test('a restored vsock device can be removed, and another added', async () => {
    assertStatus(await clone.put('vm.remove-device', { id: '_vsock0' }), 204);
    await until('the guest has released it', () => !existsSync(third));
    assertStatus(await clone.put('vm.add-vsock', { cid: 9, socket: third }), 200);
    await other.run(`until [ "$(perl -e '${ask}')" = 9 ]; do :; done`);
    await works(third, other);
  });
  await t.test('a reboot closes connections', async () => {
    const end = once(kept.socket, 'end');
    assertStatus(await source.put('vm.reboot'), 204);
    await end;
  });
});

test('a guest that finds its vsock device after the snapshot, in the source and in a clone', async () => {
  await using source = await startVmm();
  const socket = join(source.folder, 'v');
  await createAndBoot(source, guestConfig({ vsock: { cid: 5, socket } }, { tools: true }));
  // its firmware is still running
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
  assert.equal(clone.output().includes('is not notified of its new address'), false);
});

test('a live migration with a vsock', async (t) => {
  const [sourceFolder, destinationFolder] = [makeFolder(), makeFolder()];
  // the path is relative: each VMM makes the socket in its own folder
  await using source = await startVmm({ through: ['env', '--chdir', sourceFolder] });
  await using destination = await startVmm({ through: ['env', '--chdir', destinationFolder] });
  using _shell = await bootWithEcho(source, 'v.sock');
  const kept = follow(await connectVsock(join(sourceFolder, 'v.sock'), ECHO_PORT));
  await says(kept, 'before');

  await t.test('a migration that fails keeps connections open', async () => {
    const nowhere = join(source.folder, 'nobody');
    assertStatus(await source.put('vm.send-migration', { destination_url: `unix:${nowhere}` }), 500);
    await says(kept, 'still here');
  });

  const link = join(destination.folder, 'link');
  const receiving = destination.put('vm.receive-migration', { receiver_url: `unix:${link}` });
  await until('it listens', () => existsSync(link), destination.output);
  assertStatus(await source.put('vm.send-migration', { destination_url: `unix:${link}` }), 204);
  assertStatus(await receiving, 204);
  using moved = openShell(await ptyOf(destination));
  await t.test('the guest has connections at the destination', async () => {
    await works(join(destinationFolder, 'v.sock'), moved);
  });
  await t.test('vm.delete of the source removes its socket only', async () => {
    assertStatus(await source.put('vm.delete'), 204);
    await works(join(destinationFolder, 'v.sock'), moved);
    assert.equal(existsSync(join(sourceFolder, 'v.sock')), false);
  });
  await t.test("the guest's kernel reports no error", async () => {
    assert.equal(await moved.run('dmesg | grep -ci -e "virtio.*\\(fail\\|error\\)" -e "pci.*removed"'), '0');
  });
  for (const folder of [sourceFolder, destinationFolder]) rmSync(folder, { recursive: true });
});
