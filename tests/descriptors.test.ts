// Descriptors that clients send with their requests over the API socket.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { login } from './support/boot.ts';
import { connectSending, sendAtOnce, sendInParts } from './support/descriptors.ts';
import { guestConfig } from './support/guest.ts';
import { descriptorsOf } from './support/processes.ts';
import { openTap } from './support/tap.ts';
import { infoOf } from './support/vm-info.ts';
import { REPO, startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

test('taps that are sent become networks, in both ways of sending and on one connection, and last until they go', async () => {
  await using vmm = await startVmm();
  assertStatus(await vmm.put('vm.create', guestConfig({ cpus: { boot_vcpus: 4, max_vcpus: 4 } })), 204);
  using one = openTap(1);
  using four = openTap(4);
  using late = openTap(1);
  using client = connectSending(vmm.socket);
  const before = descriptorsOf(vmm.pid).filter((path) => path === '/dev/net/tun');
  assert.deepEqual(before, []);

  // not booted: 204 without a body
  sendAtOnce(client, 'vm.add-net', {
    body: { id: 'one', mac: '2e:00:00:00:00:01', fds: [77] },
    fds: one.fds,
  });
  assert.match(await client.answer(), /^HTTP\/1\.1 204 \r\n/);
  sendInParts(client, 'vm.add-net', { body: { id: 'four', mac: '2e:00:00:00:00:04' }, fds: four.fds });
  assert.match(await client.answer(), /^HTTP\/1\.1 204 \r\n/);
  assertStatus(await vmm.put('vm.boot'), 204);
  using shell = await login(vmm);

  // running: 200, within libvirt's patience
  const started = performance.now();
  sendInParts(client, 'vm.add-net', { body: { id: 'late', mac: '2e:00:00:00:00:02' }, fds: late.fds });
  assert.match(await client.answer(), /^HTTP\/1\.1 200 \r\n[^]*\{"id":"late","bdf":"0000:00:0\d\.0"\}$/);
  const took = performance.now() - started;
  assert.ok(took < 500, `vm.add-net took ${took} ms`);

  const nic = (mac: string): Promise<string> =>
    shell.run(`basename $(dirname $(grep -l ${mac} /sys/class/net/*/address))`);
  await until('the guest has it', async () => (await nic('2e:00:00:00:00:02')).startsWith('eth'));
  for (const [mac, tap, at] of [
    ['2e:00:00:00:00:01', one, 1],
    ['2e:00:00:00:00:04', four, 4],
    ['2e:00:00:00:00:02', late, 2],
  ] as const) {
    const name = await nic(mac);
    assert.equal(
      await shell.run(`ls -d /sys/class/net/${name}/queues/rx-* | wc -l`),
      String(tap.fds.length),
      mac,
    );
    execFileSync('ip', ['addr', 'add', `10.77.${at}.1/24`, 'dev', tap.name]);
    await shell.run(`ip addr add 10.77.${at}.2/24 dev ${name}; ip link set ${name} up`);
    assert.match(await shell.run(`ping -c 1 -w 20 10.77.${at}.1`), / 0% packet loss/);
  }

  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  assert.match(await nic('2e:00:00:00:00:04'), /^eth/);
  assertStatus(await vmm.put('vm.remove-device', { id: 'late' }), 204);
  const taps = (): number => descriptorsOf(vmm.pid).filter((path) => path === '/dev/net/tun').length;
  await until(
    'the descriptor of the one that went is closed',
    () => taps() === 5,
    () => String(taps()),
  );
  assertStatus(await vmm.put('vm.delete'), 204);
  assert.equal(taps(), 0);
});

test('descriptors that nobody wants are closed, whatever becomes of the request', async () => {
  await using vmm = await startVmm();
  using tap = openTap(1);
  using client = connectSending(vmm.socket);
  const get = 'GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n';
  client.send(get);
  await client.answer();
  const before = descriptorsOf(vmm.pid);
  for (let i = 0; i < 250; i++) {
    client.send(get, [...tap.fds, 0]);
    assert.match(await client.answer(), /^HTTP\/1\.1 200 /);
    for (const send of [sendAtOnce, sendInParts]) {
      send(client, i % 2 === 0 ? 'vm.add-net' : 'vm.create', {
        body: { nonsense: i, disks: 1 },
        fds: [...tap.fds, 1, 2],
      });
      assert.match(await client.answer(), /^HTTP\/1\.1 40[04] /);
    }
    // goes away in the middle of a request
    using gone = connectSending(vmm.socket);
    gone.send('PUT /api/v1/vm.add-net HTTP/1.1\r\n', tap.fds);
  }
  const areClosed = (): Promise<void> =>
    until(
      'all are closed',
      () => {
        const now = descriptorsOf(vmm.pid);
        // the connection that asked whether the VMM is there may have been among those before
        return now.length <= before.length && !now.includes('/dev/net/tun');
      },
      () => `${String(before)}\nthen: ${String(descriptorsOf(vmm.pid))}`,
    );
  await areClosed();

  // what is sent in one go without waiting belongs to whom it was sent with
  sendInParts(client, 'vm.add-net', { body: {}, fds: tap.fds });
  sendInParts(client, 'vm.add-net', { body: {}, fds: tap.fds });
  client.send(get);
  let answers = '';
  while (!answers.includes('version')) answers += await client.answer();
  assert.equal([...answers.matchAll(/HTTP\/1\.1 404 /g)].length, 2);
  await areClosed();
});

test('ch-remote sends the TAPs that it has open, and numbers of others as numbers', async () => {
  await using vmm = await startVmm();
  using tap = openTap(1);
  assertStatus(await vmm.put('vm.create', guestConfig()), 204);
  const addNet = (words: string) =>
    spawnSync(process.execPath, [join(REPO, 'bin/ch-remote'), '--api-socket', vmm.socket, 'add-net', words], {
      stdio: ['ignore', 'pipe', 'pipe', ...tap.fds],
      encoding: 'utf8',
    });
  const taps = (): number => descriptorsOf(vmm.pid).filter((path) => path === '/dev/net/tun').length;
  const sent = addNet('fd=3,mac=2e:00:00:00:00:05,id=sent');
  assert.deepEqual([sent.status, sent.stdout, sent.stderr], [0, '', '']);
  assert.equal(taps(), 1);
  const numbered = addNet('fd=900,mac=2e:00:00:00:00:06,id=numbered');
  assert.deepEqual([numbered.status, numbered.stderr], [0, '']);
  assert.equal(taps(), 1);
  const mixed = addNet('fd=3:900,num_queues=4');
  assert.deepEqual([mixed.status, mixed.stdout], [1, '']);
  assert.match(mixed.stderr, /^Error running command: fd: 3 are TAPs of this process, 900 are not\n$/);
  const { config } = await infoOf(vmm);
  assert.deepEqual(
    config.net?.map(({ id }) => id),
    ['sent', 'numbered'],
  );
  assert.deepEqual(config.net?.[1]?.fd, [900]);
});
