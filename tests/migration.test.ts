// A running VM that is sent to another VMM, seen in its guest.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { boot } from './support/boot.ts';
import { childrenOf } from './support/processes.ts';
import { stateOf } from './support/vm-info.ts';
import { waitsForVm } from './support/migration.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { until } from './support/wait.ts';
import { assertStatus, REPO, startVmm, type Answer, type TestVmm } from './support/vmm.ts';

const MIB = 2 ** 20;

/** A number that the guest counts up all the time, in a file and in much of its memory. */
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

/** Both ends of a move; they are started in any order. */
async function move(from: TestVmm, to: TestVmm, url: string): Promise<{ sent: Answer; received: Answer }> {
  const receiving = to.put('vm.receive-migration', { receiver_url: url });
  await waitsForVm(to, url);
  const sent = await from.put('vm.send-migration', { destination_url: url });
  return { sent, received: await receiving };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address !== null
          ? resolve(address.port)
          : reject(new Error('no port')),
      );
    });
  });
}

test('a VM moves while its guest counts, and back over TCP; what fails leaves it running', async () => {
  await using here = await startVmm();
  await using there = await startVmm();
  const disk = join(here.folder, 'a, "b" é.raw');
  writeFileSync(disk, 'the disk');
  truncateSync(disk, 8 * MIB);
  const persistent = join(here.folder, 'p, "m" é.img');
  writeFileSync(persistent, Buffer.alloc(8 * MIB));
  const added = join(here.folder, 'added.raw');
  writeFileSync(added, 'added');
  truncateSync(added, 4 * MIB);
  using shell = await boot(here, {
    disks: [{ path: disk }],
    pmem: [{ file: persistent }],
    cpus: { boot_vcpus: 1, max_vcpus: 2 },
    memory: { size: 256 * MIB, hotplug_size: 256 * MIB },
    balloon: { size: 0 },
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
  });
  // what was added travels as well
  assertStatus(await here.put('vm.add-disk', { path: added, id: 'later', readonly: true }), 200);
  assertStatus(await here.put('vm.resize', { desired_ram: 384 * MIB }), 204);
  await shell.run('until [ -b /dev/vdb ]; do :; done; echo written > /dev/vda; sync');
  await shell.run('modprobe -a virtio_pmem nd_pmem; until [ -b /dev/pmem0 ]; do :; done');
  await shell.run(`${persist('before')}; ${persist('before')}`);
  await count(shell);

  // 1. failures
  for (const bad of ['file:///x', 'unix:', 'tcp:host', 'tcp:host:0', 'tcp:a:b:c:1']) {
    assertStatus(await here.put('vm.send-migration', { destination_url: bad }), 400);
    assertStatus(await there.put('vm.receive-migration', { receiver_url: bad }), 400);
  }
  const nowhere = await here.put('vm.send-migration', { destination_url: 'unix:/nobody, here' });
  assert.equal(nowhere.status, 500);
  assert.match(JSON.stringify(nowhere.json), /unix:\/nobody, here: the VM could not be sent.*no such file/);
  assertStatus(await here.put('vm.receive-migration', { receiver_url: 'unix:/x' }), 405);
  assertStatus(await there.put('vm.receive-migration', { receiver_url: 'unix:/no/folder' }), 500);
  const one = await counted(shell);
  await until('the guest counts on', async () => (await counted(shell)) > one);
  assert.equal(await stateOf(here), 'Running');
  assert.deepEqual(turnsOf(here), [], 'nothing happened to the VM');

  // 2. a stranger at the receiver's door
  const socket = join(there.folder, 'move, "1" é');
  const disturbed = there.put('vm.receive-migration', { receiver_url: `unix:${socket}` });
  await until('it listens', () => existsSync(socket));
  connect(socket)
    .on('error', () => undefined)
    .end('GET / HTTP/1.1\r\n\r\n');
  const answer = await disturbed;
  assert.equal(answer.status, 500);
  assert.match(JSON.stringify(answer.json), /does not speak this protocol/);
  assertStatus(await there.get('vm.info'), 404);
  assert.deepEqual(childrenOf(there.pid), []);

  // 3. the receiver cannot make one of the devices
  await assertRefused(here, there, added);

  // 4. the connection is cut in the middle, the receiver is killed in the middle
  await assertCut(here, there, shell);
  await assertKilled(here, shell);

  // 5. there
  const { sent, received } = await move(here, there, `unix:${socket}`);
  assertStatus(sent, 204);
  assertStatus(received, 204);
  assert.ok(!existsSync(socket), 'the socket stays');
  const resumed = await here.put('vm.resume');
  assertStatus(resumed, 500);
  assert.match(JSON.stringify(resumed.json), /disk _disk0: .* is in use by another disk or process/);
  assert.equal(await stateOf(here), 'Paused');
  assert.equal(await stateOf(there), 'Running');
  const info = (await there.get('vm.info')).json as {
    config: { disks: unknown[]; memory: { size: number } };
  };
  assert.equal(info.config.disks.length, 2);
  assert.equal(info.config.memory.size, 384 * MIB);
  using other = openShell(await ptyOf(there));
  const two = await counted(other);
  assert.ok(two > one);
  await until('the guest counts on there', async () => (await counted(other)) > two);
  assert.equal(await other.run('md5sum -c /m/sum'), '/m/data: OK');
  // a page that was left behind shows here before it shows anywhere else
  assert.doesNotMatch(await other.run('dmesg'), /BUG:|Oops/);
  assert.equal(await other.run('head -c 7 /dev/vda; head -c 5 /dev/vdb'), 'writtenadded');
  // what is persistent as well, and a flush ends
  assert.equal(await other.run('head -n 1 /dev/pmem0'), 'before');
  await other.run(persist('moved'));
  assert.equal(readFileSync(persistent, 'latin1').slice(0, 5), 'moved');
  // the machine is whole: it grows and shrinks as before
  assertStatus(await there.put('vm.remove-device', { id: 'later' }), 204);
  await other.run('while [ -b /dev/vdb ]; do :; done; echo moved > /dev/vda; sync');
  assert.equal(readFileSync(disk, 'latin1').slice(0, 5), 'moved');

  // 6. and back, by the command line, after what was left behind is gone
  assertStatus(await here.put('vm.delete'), 204);
  const url = `tcp:127.0.0.1:${await freePort()}`;
  const remote = (vmm: TestVmm, ...words: string[]) =>
    promisify(execFile)(join(REPO, 'bin/ch-remote'), ['--api-socket', vmm.socket, ...words]);
  const back = remote(here, 'receive-migration', url);
  await until('the receiver waits', () => here.output().includes(`${url}: waiting for a VM`), here.output);
  await remote(there, 'send-migration', url);
  await back;
  using home = openShell(await ptyOf(here));
  const three = await counted(home);
  assert.ok(three > two);
  await until('the guest counts on at home', async () => (await counted(home)) > three);
  // what was sent can go on where it was, once the other is gone
  assertStatus(await here.put('vm.delete'), 204);
  assertStatus(await there.put('vm.resume'), 204);
  // its PTY is the same, and two readers would take each other's bytes
  const four = await counted(other);
  await until('the guest counts on once more', async () => (await counted(other)) > four);
});

async function assertRefused(here: TestVmm, there: TestVmm, added: string): Promise<void> {
  renameSync(added, `${added}.away`);
  const { sent, received } = await move(here, there, `unix:${join(there.folder, 'refused')}`);
  renameSync(`${added}.away`, added);
  for (const answer of [sent, received]) {
    assert.equal(answer.status, 500);
    assert.match(JSON.stringify(answer.json), /disk later: .*added\.raw: no such file/);
  }
  assert.match(JSON.stringify(sent.json), /the receiver refused/);
  assert.deepEqual(childrenOf(there.pid), []);
  assertStatus(await there.get('vm.info'), 404);
  assert.equal(await stateOf(here), 'Running');
}

/** The events that tell of a VM's pauses, as the log has them. */
function turnsOf(vmm: TestVmm): string[] {
  const events = vmm.output().matchAll(/<vmm> INFO:event -- vm (paus\w+|resum\w+)/g);
  return [...events].map(([, name]) => name ?? '');
}

/** A connection that a relay cuts when some of the RAM has gone through; both sides can be used again. */
async function assertCut(here: TestVmm, there: TestVmm, shell: Shell): Promise<void> {
  const [near, far] = [join(here.folder, 'near'), join(there.folder, 'far')];
  const receiving = there.put('vm.receive-migration', { receiver_url: `unix:${far}` });
  await until('it listens', () => existsSync(far));
  const relay = createServer((inward) => {
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
  await until('the relay listens', () => existsSync(near));
  const told = turnsOf(here).length;
  const sent = await here.put('vm.send-migration', { destination_url: `unix:${near}` });
  relay.close();
  const received = await receiving;
  for (const answer of [sent, received]) assert.equal(answer.status, 500);
  assert.match(JSON.stringify(sent.json), /the VM could not be sent/);
  assert.match(JSON.stringify(received.json), /no VM could be received/);
  assert.deepEqual(childrenOf(there.pid), []);
  assertStatus(await there.get('vm.info'), 404);
  assert.equal(await stateOf(here), 'Running');
  assert.deepEqual(turnsOf(here).slice(told), ['pausing', 'resuming', 'resumed']);
  const before = await counted(shell);
  await until('the guest counts on after the cut', async () => (await counted(shell)) > before);
  await shell.run(persist('before'));
}

async function assertKilled(here: TestVmm, shell: Shell): Promise<void> {
  await using doomed = await startVmm();
  const url = `unix:${join(doomed.folder, 'doomed')}`;
  const receiving = doomed.put('vm.receive-migration', { receiver_url: url }).catch(() => undefined);
  await until('it listens', () => existsSync(url.slice('unix:'.length)));
  const sending = here.put('vm.send-migration', { destination_url: url });
  await until('its engine is there', () => doomed.output().includes('runs as pid'), doomed.output);
  doomed.kill('SIGKILL');
  await receiving;
  const sent = await sending;
  assert.equal(sent.status, 500);
  assert.match(JSON.stringify(sent.json), /the VM could not be sent/);
  assert.equal(await stateOf(here), 'Running');
  const before = await counted(shell);
  await until(
    'the guest counts on after the receiver was killed',
    async () => (await counted(shell)) > before,
  );
}

test('a VMM that waits for a VM can be ended', async () => {
  await using vmm = await startVmm();
  const socket = join(vmm.folder, 'wait');
  const waiting = vmm.put('vm.receive-migration', { receiver_url: `unix:${socket}` });
  await until('it listens', () => existsSync(socket));
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
  test(`several requests that wait for a VM end with ${end}, also one whose client has gone`, async () => {
    await using vmm = await startVmm();
    const sockets = ['first', 'second', 'second'].map((name) => join(vmm.folder, name));
    const urls = [...sockets.map((path) => `unix:${path}`), `tcp:127.0.0.1:${await freePort()}`];
    const gone = connect(vmm.socket);
    gone.on('error', () => undefined);
    const body = JSON.stringify({ receiver_url: urls[0] });
    gone.write(
      `PUT /api/v1/vm.receive-migration HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await until('the first one listens', () => existsSync(sockets[0] ?? ''));
    gone.destroy();
    const waiting = urls.map((url) => vmm.put('vm.receive-migration', { receiver_url: url }));
    // they are in the VMM's queue, behind the first
    assertStatus(await vmm.get('vmm.ping'), 200);
    assert.ok(!existsSync(sockets[1] ?? ''));
    await act(vmm);
    for (const answer of await Promise.all(waiting)) assertStatus(answer, 500);
    assert.equal(await vmm.exited, 0);
    assert.deepEqual(
      [...sockets, vmm.socket].filter((path) => existsSync(path)),
      [],
    );
  });
}
