// Live migration of a running VM to another VMM, observed in its guest.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { chRemote } from './support/ch-remote.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { migrate, tryMigration, untilReceiving } from './support/migration.ts';
import { freePort } from './support/ports.ts';
import { childrenOf, isAlive, qemuOf } from './support/processes.ts';
import { sendUntilReceived } from './support/received-request.ts';
import { openShell, type Shell } from './support/shell.ts';
import { infoOf, ptyOf, stateOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;

/** Fills guest memory and starts a process that increments a number in a file. */
async function count(shell: Shell): Promise<void> {
  await shell.run(
    'mkdir /m; mount -t tmpfs m /m; head -c 3000000 /dev/urandom > /m/data; md5sum /m/data > /m/sum',
  );
  await shell.run(
    '(i=0; while :; do i=$((i+1)); echo $i > /m/new; mv /m/new /m/count; done) > /dev/null 2>&1 & true',
  );
}

const persist = (text: string): string =>
  `echo ${text} | dd of=/dev/pmem0 bs=4096 conv=sync,fsync 2>/dev/null`;

const counted = async (shell: Shell): Promise<number> => Number(await shell.run('cat /m/count'));

test('a live migration to another VMM, and back', async (t) => {
  await using source = await startVmm();
  await using destination = await startVmm();
  const files = makeFiles(source.folder);
  using shell = await boot(source, {
    disks: [{ path: files.disk }],
    pmem: [{ file: files.pmem }],
    cpus: { boot_vcpus: 1, max_vcpus: 2 },
    memory: { size: 256 * MIB, hotplug_size: 256 * MIB },
    balloon: { size: 0 },
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
  });
  assertStatus(await source.put('vm.add-disk', { path: files.added, id: 'later', readonly: true }), 200);
  assertStatus(await source.put('vm.resize', { desired_ram: 384 * MIB }), 204);
  await shell.run('until [ -b /dev/vdb ]; do :; done; echo written > /dev/vda; sync');
  await shell.run('modprobe -a virtio_pmem nd_pmem; until [ -b /dev/pmem0 ]; do :; done');
  await shell.run(`${persist('before')}; ${persist('before')}`);
  await count(shell);
  const socket = join(destination.folder, 'move, "1" é');

  await t.test('URLs of other forms are refused with 400', async () => {
    for (const bad of ['file:///x', 'unix:', 'tcp:host', 'tcp:host:0', 'tcp:a:b:c:1']) {
      assertStatus(await source.put('vm.send-migration', { destination_url: bad }), 400);
      assertStatus(await destination.put('vm.receive-migration', { receiver_url: bad }), 400);
    }
  });
  await t.test('a VMM with a VM cannot receive one', async () => {
    assertStatus(await source.put('vm.receive-migration', { receiver_url: 'unix:/x' }), 405);
  });
  await t.test('a socket in a folder that does not exist is refused', async () => {
    assertStatus(await destination.put('vm.receive-migration', { receiver_url: 'unix:/no/folder' }), 500);
  });
  await t.test('without a destination the guest runs on, and no event is sent', async () => {
    const sent = await source.put('vm.send-migration', { destination_url: 'unix:/nobody, here' });
    assertRefused(sent, 500, /unix:\/nobody, here: the VM could not be sent.*no such file/);
    await countsOn(shell);
    assert.equal(await stateOf(source), 'Running');
    assert.deepEqual(pauseEvents(source), []);
  });
  await t.test('a client of another protocol ends the wait for a VM with an error', () =>
    connectsStranger(destination, socket),
  );
  await t.test('a disk that the destination does not have is named on both sides', () =>
    lacksDisk(source, destination, files.added),
  );
  await t.test('after a lost connection the guest runs on, and both VMMs can be used again', () =>
    losesConnection(source, destination, shell),
  );
  await t.test('after a kill of the destination the guest runs on', () => killsDestination(source, shell));

  const before = await counted(shell);
  await migrate(source, destination, `unix:${socket}`);
  using moved = openShell(await ptyOf(destination));
  await t.test('the socket is removed', () => assert.ok(!existsSync(socket)));
  await t.test('the VM runs at the destination', async () => {
    assert.equal(await stateOf(destination), 'Running');
  });
  await t.test('the source stays paused: it cannot open the disks of a running VM', async () => {
    const resumed = await source.put('vm.resume');
    assertRefused(resumed, 500, /disk _disk0: .* is in use by another disk or process/);
    assert.equal(await stateOf(source), 'Paused');
  });
  await t.test('the destination shows the hot-plugged disk and RAM', async () => {
    const { config } = await infoOf(destination);
    assert.equal(config.disks?.length, 2);
    assert.equal(config.memory.size, 384 * MIB);
  });
  await t.test('the guest counts on at the destination', async () => {
    assert.ok((await counted(moved)) > before);
    await countsOn(moved);
  });
  await t.test('guest memory is intact at the destination', async () => {
    assert.equal(await moved.run('md5sum -c /m/sum'), '/m/data: OK');
    // a lost page is detected here first
    assert.doesNotMatch(await moved.run('dmesg'), /BUG:|Oops/);
  });
  await t.test('the disks have their contents at the destination', async () => {
    assert.equal(await moved.run('head -c 7 /dev/vda; head -c 5 /dev/vdb'), 'writtenadded');
  });
  await t.test('persistent memory has its contents at the destination, and can be flushed', async () => {
    assert.equal(await moved.run('head -n 1 /dev/pmem0'), 'before');
    await moved.run(persist('moved'));
    assert.equal(readFileSync(files.pmem, 'latin1').slice(0, 5), 'moved');
  });
  await t.test('at the destination a disk can be removed, and another written', async () => {
    assertStatus(await destination.put('vm.remove-device', { id: 'later' }), 204);
    await moved.run('while [ -b /dev/vdb ]; do :; done; echo moved > /dev/vda; sync');
    assert.equal(readFileSync(files.disk, 'latin1').slice(0, 5), 'moved');
  });
  await t.test('ch-remote migrates the VM back over TCP', () => migratesBack(source, destination, moved));
  await t.test('a sender can resume its VM once the receiver has deleted it', async () => {
    assertStatus(await source.put('vm.delete'), 204);
    assertStatus(await destination.put('vm.resume'), 204);
    // on the same PTY: a second reader would take bytes of the first
    await countsOn(moved);
  });
});

/** Waits until the guest's counter grows. */
async function countsOn(shell: Shell): Promise<void> {
  const before = await counted(shell);
  await until('the guest counts on', async () => (await counted(shell)) > before);
}

function makeFiles(folder: string) {
  return {
    disk: makeImage(join(folder, 'a, "b" é.raw'), 8 * MIB, 'the disk'),
    pmem: makeImage(join(folder, 'p, "m" é.img'), 8 * MIB),
    added: makeImage(join(folder, 'added.raw'), 4 * MIB, 'added'),
  };
}

async function connectsStranger(destination: TestVmm, socket: string): Promise<void> {
  const receiving = destination.put('vm.receive-migration', { receiver_url: `unix:${socket}` });
  await until('the destination listens', () => existsSync(socket));
  connect(socket)
    .on('error', () => undefined)
    .end('GET / HTTP/1.1\r\n\r\n');
  assertRefused(await receiving, 500, /does not use this protocol/);
  assertStatus(await destination.get('vm.info'), 404);
  assert.deepEqual(childrenOf(destination.pid), []);
}

async function migratesBack(source: TestVmm, destination: TestVmm, moved: Shell): Promise<void> {
  const before = await counted(moved);
  assertStatus(await source.put('vm.delete'), 204);
  const url = `tcp:127.0.0.1:${await freePort()}`;
  const receiving = chRemote(source, 'receive-migration', url);
  await untilReceiving(source, url);
  assert.equal((await chRemote(destination, 'send-migration', url)).code, 0);
  assert.equal((await receiving).code, 0);
  using back = openShell(await ptyOf(source));
  assert.ok((await counted(back)) > before);
  await countsOn(back);
}

async function lacksDisk(source: TestVmm, destination: TestVmm, added: string): Promise<void> {
  renameSync(added, `${added}.away`);
  const { sent, received } = await tryMigration(
    source,
    destination,
    `unix:${join(destination.folder, 'refused')}`,
  );
  renameSync(`${added}.away`, added);
  for (const answer of [sent, received]) {
    assertRefused(answer, 500, /disk later: .*added\.raw: no such file/);
  }
  assert.match(JSON.stringify(sent.json), /the receiver refused/);
  assert.deepEqual(childrenOf(destination.pid), []);
  assertStatus(await destination.get('vm.info'), 404);
  assert.equal(await stateOf(source), 'Running');
}

/** Events of pauses and resumes in the log of a VMM. */
function pauseEvents(vmm: TestVmm): string[] {
  const events = vmm.output().matchAll(/<vmm> INFO:event -- vm (paus\w+|resum\w+)/g);
  return [...events].map(([, name]) => name ?? '');
}

/** Migrates through a proxy that closes the connection after 8 MiB. */
async function losesConnection(source: TestVmm, destination: TestVmm, shell: Shell): Promise<void> {
  const [near, far] = [join(source.folder, 'near'), join(destination.folder, 'far')];
  const receiving = destination.put('vm.receive-migration', { receiver_url: `unix:${far}` });
  await until('the destination listens', () => existsSync(far));
  const proxy = createServer((inward) => {
    const outward = connect(far);
    let carried = 0;
    const cut = (): void => void (inward.destroy(), outward.destroy());
    inward.on('error', cut).on('close', cut);
    outward.on('error', cut).on('close', cut);
    outward.pipe(inward);
    inward.pipe(outward);
    inward.on('data', ({ length }) => {
      carried += length;
      if (carried > 8 * MIB) cut();
    });
  }).listen(near);
  await until('the proxy listens', () => existsSync(near));
  const earlier = pauseEvents(source).length;
  const sent = await source.put('vm.send-migration', { destination_url: `unix:${near}` });
  proxy.close();
  const received = await receiving;
  for (const answer of [sent, received]) assert.equal(answer.status, 500);
  assert.match(JSON.stringify(sent.json), /the VM could not be sent/);
  assert.match(JSON.stringify(received.json), /no VM could be received/);
  assert.deepEqual(childrenOf(destination.pid), []);
  assertStatus(await destination.get('vm.info'), 404);
  assert.equal(await stateOf(source), 'Running');
  assert.deepEqual(pauseEvents(source).slice(earlier), ['pausing', 'resuming', 'resumed']);
  await countsOn(shell);
  await shell.run(persist('before'));
}

async function killsDestination(source: TestVmm, shell: Shell): Promise<void> {
  await using other = await startVmm();
  const url = `unix:${join(other.folder, 'other')}`;
  const receiving = other.put('vm.receive-migration', { receiver_url: url }).catch(() => undefined);
  await until('the destination listens', () => existsSync(url.slice('unix:'.length)));
  const sending = source.put('vm.send-migration', { destination_url: url });
  await until('QEMU of the destination runs', () => other.output().includes('runs as pid'), other.output);
  other.kill('SIGKILL');
  await receiving;
  const sent = await sending;
  assertRefused(sent, 500, /the VM could not be sent/);
  assert.equal(await stateOf(source), 'Running');
  await countsOn(shell);
}

/** Listens as a destination that kills QEMU of the source, and then accepts the VM. */
function killsSource(path: string, source: TestVmm): Server {
  const kill = async (): Promise<void> => {
    const qemu = qemuOf(source.pid);
    process.kill(qemu, 'SIGKILL');
    await until('QEMU exits', () => !isAlive(qemu));
  };
  const accept = async (socket: Socket): Promise<void> => {
    await once(socket, 'data');
    await kill();
    socket.resume().write('NEPHOS-1\0\0\0\x02{}');
  };
  return createServer((socket) => {
    socket.on('error', () => undefined);
    accept(socket).catch((error: unknown) => socket.destroy(new Error('not accepted', { cause: error })));
  }).listen(path);
}

test('a source whose QEMU is killed closes the connection to the destination', async () => {
  await using source = await startVmm();
  const config = guestConfig({ pmem: [{ file: makeImage(join(source.folder, 'pmem'), 2 * MIB) }] });
  assertStatus(await source.put('vm.create', config), 204);
  assertStatus(await source.put('vm.boot'), 204);
  const path = join(source.folder, 'destination');
  const server = killsSource(path, source);
  let isClosed = false;
  server.once('connection', (socket) => socket.once('close', () => (isClosed = true)));
  assertRefused(
    await source.put('vm.send-migration', { destination_url: `unix:${path}` }),
    500,
    /QEMU ended/,
  );
  await until('the connection is closed', () => isClosed);
  server.close();
});

test('vmm.shutdown ends the wait for a VM and removes its socket', async () => {
  await using vmm = await startVmm();
  const socket = join(vmm.folder, 'wait');
  const waiting = vmm.put('vm.receive-migration', { receiver_url: `unix:${socket}` });
  await until('the VMM listens', () => existsSync(socket));
  const ended = vmm.put('vmm.shutdown');
  assertStatus(await waiting, 500);
  assertStatus(await ended, 204);
  assert.equal(await vmm.exited, 0);
  assert.ok(!existsSync(socket));
});

for (const [end, act] of [
  ['SIGTERM', (vmm: TestVmm) => vmm.kill('SIGTERM')],
  ['vmm.shutdown', async (vmm: TestVmm) => assertStatus(await vmm.put('vmm.shutdown'), 204)],
] as const) {
  test(`${end} ends all waits for a VM, also that of a disconnected client`, async () => {
    await using vmm = await startVmm();
    const sockets = ['first', 'second', 'second'].map((name) => join(vmm.folder, name));
    const urls = [...sockets.map((path) => `unix:${path}`), `tcp:127.0.0.1:${await freePort()}`];
    const disconnected = connect(vmm.socket);
    disconnected.on('error', () => undefined);
    const body = JSON.stringify({ receiver_url: urls[0] });
    disconnected.write(
      `PUT /api/v1/vm.receive-migration HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await until('the first one listens', () => existsSync(sockets[0] ?? ''));
    disconnected.destroy();
    const waiting = await Promise.all(
      urls.map((url) =>
        sendUntilReceived(vmm.socket, { path: 'vm.receive-migration', body: { receiver_url: url } }),
      ),
    );
    // these requests are queued behind the first
    assertStatus(await vmm.get('vmm.ping'), 200);
    assert.ok(!existsSync(sockets[1] ?? ''));
    await act(vmm);
    for (const { statusLine } of waiting) assert.match(await statusLine, /^HTTP\/1\.1 500 /);
    assert.equal(await vmm.exited, 0);
    assert.deepEqual(
      [...sockets, vmm.socket].filter((path) => existsSync(path)),
      [],
    );
  });
}
