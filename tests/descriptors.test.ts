// File descriptors that clients send with requests over the API socket (SCM_RIGHTS).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { login } from './support/boot.ts';
import { chRemoteWithFds } from './support/ch-remote.ts';
import { connectSending, sendAtOnce, sendInParts } from './support/descriptors.ts';
import { guestConfig } from './support/guest.ts';
import { descriptorsOf } from './support/processes.ts';
import { openTap, openTapCount } from './support/tap.ts';
import { infoOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

test('TAPs that are sent with vm.add-net', async (t) => {
  await using vmm = await startVmm();
  assertStatus(await vmm.put('vm.create', guestConfig({ cpus: { boot_vcpus: 4, max_vcpus: 4 } })), 204);
  using one = openTap(1);
  using four = openTap(4);
  using late = openTap(1);
  using client = connectSending(vmm.socket);
  assert.equal(openTapCount(vmm.pid), 0);

  await t.test('before the boot vm.add-net is answered 204, sent in one write or in parts', async () => {
    sendAtOnce(client, 'vm.add-net', {
      body: { id: 'one', mac: '2e:00:00:00:00:01', fds: [77] },
      fds: one.fds,
    });
    assert.match(await client.answer(), /^HTTP\/1\.1 204 \r\n/);
    sendInParts(client, 'vm.add-net', { body: { id: 'four', mac: '2e:00:00:00:00:04' }, fds: four.fds });
    assert.match(await client.answer(), /^HTTP\/1\.1 204 \r\n/);
  });
  assertStatus(await vmm.put('vm.boot'), 204);
  using shell = await login(vmm);

  await t.test('while the VM runs it is answered 200, within 500 ms', async () => {
    const started = performance.now();
    sendInParts(client, 'vm.add-net', { body: { id: 'late', mac: '2e:00:00:00:00:02' }, fds: late.fds });
    assert.match(await client.answer(), /^HTTP\/1\.1 200 \r\n[^]*\{"id":"late","bdf":"0000:00:0\d\.0"\}$/);
    const took = performance.now() - started;
    assert.ok(took < 500, `vm.add-net took ${took} ms`);
  });

  const nic = (mac: string): Promise<string> =>
    shell.run(`basename $(dirname $(grep -l ${mac} /sys/class/net/*/address))`);
  await until('the guest has it', async () => (await nic('2e:00:00:00:00:02')).startsWith('eth'));
  for (const [mac, tap, at] of [
    ['2e:00:00:00:00:01', one, 1],
    ['2e:00:00:00:00:04', four, 4],
    ['2e:00:00:00:00:02', late, 2],
  ] as const) {
    await t.test(`${mac} has a queue for each file descriptor, and reaches the host`, async () => {
      const name = await nic(mac);
      assert.equal(
        await shell.run(`ls -d /sys/class/net/${name}/queues/rx-* | wc -l`),
        String(tap.fds.length),
        mac,
      );
      execFileSync('ip', ['addr', 'add', `10.77.${at}.1/24`, 'dev', tap.name]);
      await shell.run(`ip addr add 10.77.${at}.2/24 dev ${name}; ip link set ${name} up`);
      assert.match(await shell.run(`ping -c 1 -w 20 10.77.${at}.1`), / 0% packet loss/);
    });
  }

  await t.test('a network stays over a reboot', async () => {
    assertStatus(await vmm.put('vm.reboot'), 204);
    await shell.login();
    assert.match(await nic('2e:00:00:00:00:04'), /^eth/);
  });
  await t.test('a removed network closes its file descriptor', async () => {
    assertStatus(await vmm.put('vm.remove-device', { id: 'late' }), 204);
    await until(
      'its file descriptor is closed',
      () => openTapCount(vmm.pid) === 5,
      () => String(openTapCount(vmm.pid)),
    );
  });
  assertStatus(await vmm.put('vm.delete'), 204);
  assert.equal(openTapCount(vmm.pid), 0);
});

test('unused file descriptors are closed, whatever the answer to the request', async (t) => {
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
    // closes its connection within a request
    using half = connectSending(vmm.socket);
    half.send('PUT /api/v1/vm.add-net HTTP/1.1\r\n', tap.fds);
  }
  const areClosed = (): Promise<void> =>
    until(
      'all are closed',
      () => {
        const now = descriptorsOf(vmm.pid);
        // the count before may include the connection of the first ping
        return now.length <= before.length && !now.includes('/dev/net/tun');
      },
      () => `${String(before)}\nthen: ${String(descriptorsOf(vmm.pid))}`,
    );
  await t.test(
    'those of refused requests, of requests without a body, and of closed connections',
    async () => {
      await areClosed();
    },
  );

  await t.test('those of requests that are sent without waiting for answers', async () => {
    sendInParts(client, 'vm.add-net', { body: {}, fds: tap.fds });
    sendInParts(client, 'vm.add-net', { body: {}, fds: tap.fds });
    client.send(get);
    let answers = '';
    while (!answers.includes('version')) answers += await client.answer();
    assert.equal([...answers.matchAll(/HTTP\/1\.1 404 /g)].length, 2);
    await areClosed();
  });
});

test('ch-remote add-net', async (t) => {
  await using vmm = await startVmm();
  using tap = openTap(1);
  assertStatus(await vmm.put('vm.create', guestConfig()), 204);
  const addNet = (words: string) => chRemoteWithFds(vmm, tap.fds, 'add-net', words);
  await t.test('sends a TAP that it has open', () => {
    const sent = addNet('fd=3,mac=2e:00:00:00:00:05,id=sent');
    assert.deepEqual([sent.status, sent.stdout, sent.stderr], [0, '', '']);
    assert.equal(openTapCount(vmm.pid), 1);
  });
  await t.test('sends a number that it does not have open as a number', () => {
    const numbered = addNet('fd=900,mac=2e:00:00:00:00:06,id=numbered');
    assert.deepEqual([numbered.status, numbered.stderr], [0, '']);
    assert.equal(openTapCount(vmm.pid), 1);
  });
  await t.test('refuses a mixture of both', () => {
    const mixed = addNet('fd=3:900,num_queues=4');
    assert.deepEqual([mixed.status, mixed.stdout], [1, '']);
    assert.match(mixed.stderr, /^Error running command: fd: 3 are TAPs of this process, 900 are not\n$/);
  });
  await t.test('vm.info shows both networks', async () => {
    const { config } = await infoOf(vmm);
    assert.deepEqual(
      config.net?.map(({ id }) => id),
      ['sent', 'numbered'],
    );
    assert.deepEqual(config.net?.[1]?.fd, [900]);
  });
});
