// vhost-user networks: the back-end listens and the VMM connects, or vice versa.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus, messagesOf } from './support/answers.ts';
import { startBlockBackend, startNetBackend } from './support/backends.ts';
import { login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import type { Shell } from './support/shell.ts';
import { stateOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MEMORY = { size: 256 * 2 ** 20, shared: true };
/** Addresses of the hosts behind the back-ends. */
const [LISTENING, CONNECTING, LATE] = ['10.95.1.1', '10.95.2.1', '10.95.3.1'] as const;

async function reaches(shell: Shell, dev: string, host: string): Promise<void> {
  const own = host.replace(/1$/, '2');
  await shell.run(`ip addr replace ${own}/24 dev ${dev}; ip link set ${dev} up`);
  assert.match(await shell.run(`ping -c 2 -s 1400 -W 20 -I ${dev} ${host}`), / 0% packet loss/, host);
}

test('a network whose back-end listens, and one whose back-end connects', async (t) => {
  await using vmm = await startVmm();
  const [listens, connects] = [join(vmm.folder, 'a, "b" é'), join(vmm.folder, 'server, "b" é')];
  const config = guestConfig({
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    memory: MEMORY,
    net: [
      { vhost_user: true, vhost_socket: listens, mac: '52:54:00:95:00:01', queue_size: 1024 },
      {
        ...{ vhost_user: true, vhost_socket: connects, vhost_mode: 'server' },
        ...{ num_queues: 4, queue_size: 512, id: 'served' },
      },
    ],
  });
  assertStatus(await vmm.put('vm.create', config), 204);
  const booting = vmm.put('vm.boot');
  await using first = startNetBackend('listen', listens, { address: LISTENING, queues: 2 });
  await until('the VMM listens', () => existsSync(connects));
  const second = startNetBackend('connect', connects, { address: CONNECTING, queues: 4 });
  assertStatus(await booting, 204);
  using shell = await login(vmm);

  await t.test('MAC address and queues are as configured', async () => {
    assert.equal(await shell.run('cat /sys/class/net/eth0/address'), '52:54:00:95:00:01');
    assert.equal(await shell.run('ls -d /sys/class/net/eth?/queues/rx-* | wc -l'), '3');
  });
  await t.test('the guest reaches a host behind a back-end that listens', async () => {
    await reaches(shell, 'eth0', LISTENING);
  });
  await t.test('the guest reaches a host behind a back-end that connects', async () => {
    await reaches(shell, 'eth1', CONNECTING);
  });
  await t.test('the rings have queue_size entries', () => {
    assert.match(first.output(), /^rings 1024 1024$/m);
    assert.match(second.output(), /^rings 512 512 512 512$/m);
  });

  await second[Symbol.asyncDispose]();
  await using _again = startNetBackend('connect', connects, { address: CONNECTING, queues: 4 });
  await t.test('a back-end that is restarted is used again', () =>
    until('the guest reaches the host', async () => {
      await reaches(shell, 'eth1', CONNECTING);
      return true;
    }),
  );

  await t.test('a network is hot-plugged and removed', () => plugs(vmm, shell));
  const adding = await addsSilent(vmm);
  await t.test('a hot-plug whose back-end does not answer does not block the guest', async () => {
    assert.equal(await shell.run('echo the guest goes on'), 'the guest goes on');
  });
  await t.test('vm.shutdown ends the hot-plug, and removes the socket that the VMM made', async () => {
    assertStatus(await vmm.put('vm.shutdown'), 204);
    assertStatus(await adding.answer, 500);
    await adding.end();
    assert.ok(!existsSync(connects));
  });
});

/** Hot-plugs a network in server mode while the VMM waits for its back-end, and removes it. */
async function plugs(vmm: TestVmm, shell: Shell): Promise<void> {
  const socket = join(vmm.folder, 'late');
  const added = vmm.put('vm.add-net', {
    ...{ vhost_user: true, vhost_socket: socket, vhost_mode: 'Server', id: 'late' },
  });
  await until('the VMM listens', () => existsSync(socket));
  await using backend = startNetBackend('connect', socket, { address: LATE, queues: 2 });
  assertStatus(await added, 200);
  await until('the guest has it', async () => (await shell.run('ls /sys/class/net')).includes('eth2'));
  await reaches(shell, 'eth2', LATE);
  assertStatus(await vmm.put('vm.remove-device', { id: 'late' }), 204);
  await until('its socket is gone', () => !existsSync(socket));
  await backend.ended;
}

/** Starts a hot-plug of a network whose back-end accepts the connection and never answers. */
async function addsSilent(vmm: TestVmm) {
  const socket = join(vmm.folder, 'silent');
  const server = createServer((connection) => connection.resume()).listen(socket);
  await once(server, 'listening');
  const connected = once(server, 'connection');
  const answer = vmm.put('vm.add-net', { vhost_user: true, vhost_socket: socket, id: 'silent' });
  await connected;
  const end = async (): Promise<void> => {
    await new Promise((resolve) => server.close(resolve));
  };
  return { answer, end };
}

test('a boot without the back-end of a network', async (t) => {
  await using vmm = await startVmm();
  const socket = join(vmm.folder, 'socket');
  const create = async (vhost_mode: string): Promise<void> => {
    await vmm.put('vm.delete');
    const net = [{ vhost_user: true, vhost_socket: socket, vhost_mode }];
    assertStatus(await vmm.put('vm.create', guestConfig({ memory: MEMORY, net })), 204);
  };
  const fails = async (reason: string | RegExp): Promise<void> => {
    const answer = await vmm.put('vm.boot');
    assertStatus(answer, 500);
    const [first, second] = messagesOf(answer);
    const place = `net _net0: ${socket}: `;
    assert.deepEqual([first, second?.slice(0, place.length)], ['vm.boot failed', place]);
    if (typeof reason === 'string') assert.equal(second?.slice(place.length), reason);
    else assert.match(second ?? '', reason);
  };
  await t.test('vm.shutdown ends the wait for a back-end', async () => {
    await create('Server');
    const booting = vmm.put('vm.boot');
    await until('the VMM listens', () => existsSync(socket));
    await vmm.put('vm.shutdown');
    const answer = await booting;
    assertStatus(answer, 500);
    assert.deepEqual(answer.json, [
      'vm.boot failed',
      `net _net0: ${socket}: no back-end has connected; the wait for it was ended`,
    ]);
    assert.equal(await stateOf(vmm), 'Created');
    assert.ok(!existsSync(socket));
  });

  const image = join(vmm.folder, 'image');
  writeFileSync(image, Buffer.alloc(512));
  await t.test('a socket on which another process listens is refused', async () => {
    await using _taken = startBlockBackend(socket, image);
    await until('the process listens', () => existsSync(socket));
    await fails(/is in use: process \d+ \(qemu-storage-da\) listens there/);
  });
  await t.test('a socket of a killed process is replaced', async () => {
    assert.ok(existsSync(socket));
    const again = vmm.put('vm.boot');
    await using _backend = startNetBackend('connect', socket, { address: LATE, queues: 2 });
    assertStatus(await again, 204);
    assertStatus(await vmm.put('vm.shutdown'), 204);
    assert.ok(!existsSync(socket));
  });
  writeFileSync(socket, 'mine');
  await t.test('in server mode a file at the path is refused, and left as it is', async () => {
    await create('Server');
    await fails('something that is not a socket is there; it was left untouched');
  });
  await t.test('in client mode a file at the path is refused', async () => {
    await create('Client');
    await fails('is not a socket');
  });
});
