// libvirt's driver and Virtink, each with all calls of a domain's lifecycle and its own deadlines.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { startFsBackend } from './support/backends.ts';
import { connectSending, sendAtOnce } from './support/descriptors.ts';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { interfaceName, ip } from './support/host-network.ts';
import { makeImage } from './support/images.ts';
import { curl, startAsLibvirt } from './support/libvirt.ts';
import { qemuOf } from './support/processes.ts';
import { openShell, openShellOnSocket } from './support/shell.ts';
import { openTap } from './support/tap.ts';
import { infoOf, ptyOf } from './support/vm-info.ts';
import { makeFolder, startVmm } from './support/vmm.ts';
import { until, within } from './support/wait.ts';

const MIB = 2 ** 20;
const PAYLOAD = { kernel: KERNEL, initramfs: INITRAMFS, cmdline: 'console=ttyS0 root=/dev/vda1' };

/** An image of 4 MiB that begins with its name. */
function image(folder: string, name: string): string {
  const path = join(folder, name);
  makeImage(path, 4 * MIB, name);
  return path;
}

function threadsOf(pid: number): string[] {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).map((tid) => readFileSync(`${tasks}/${tid}/comm`, 'utf8').trim());
}

function cgroupOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
}

test('libvirt', async (t) => {
  const folder = makeFolder();
  await using vmm = await startAsLibvirt(folder);
  using tap = openTap(1);
  await until('the VMM answers', async () => (await vmm.get('vmm.ping')).status === 200, vmm.output);
  using client = curl(vmm.socket);
  const done = async (name: string, body?: unknown): Promise<void> => {
    assertStatus(await client.put(name, body), 204);
  };
  await done('vm.create', {
    cpus: { boot_vcpus: 1, max_vcpus: 1 },
    memory: { size: 512 * MIB },
    payload: PAYLOAD,
    disks: [{ path: image(folder, 'root.img'), readonly: false }],
    console: { mode: 'Pty' },
    serial: { mode: 'Pty' },
  });

  await t.test('vm.add-net with a TAP is answered within 500 ms', async () => {
    const body = JSON.stringify({ id: 'net_0', mac: '52:54:00:00:11:01' });
    const head = 'PUT /api/v1/vm.add-net HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
    using sender = connectSending(vmm.socket);
    const added = await within(500, 'vm.add-net', () => {
      sender.send(`${head}Content-Length: ${body.length}\r\n\r\n${body}`, tap.fds);
      return sender.answer();
    });
    assert.match(added, /^HTTP\/1\.1 20[04] \r\n/);
  });

  await done('vm.boot');
  const { config } = await infoOf(vmm);
  await t.test('vm.info has the PTYs of both consoles', () => {
    for (const which of [config.serial, config.console]) assert.match(which.file ?? '', /^\/dev\/pts\/\d+$/);
  });
  using shell = openShell(config.serial.file ?? '');
  await shell.login();
  await t.test('the second console has a login', async () => {
    using second = openShell(config.console.file ?? '');
    second.type('\r');
    await second.sees('login:');
  });
  await t.test('the guest has the disk and the network', async () => {
    assert.equal(await shell.run('head -c 8 /dev/vda'), 'root.img');
    assert.equal(await shell.run('cat /sys/class/net/eth0/address'), '52:54:00:00:11:01');
  });
  await t.test('W13: the vCPUs are threads of QEMU, with its names', () => {
    // libvirt then refuses only to pin them
    assert.ok(threadsOf(qemuOf(vmm.pid)).some((name) => /^CPU 0\/(TCG|KVM|HVF)$/.test(name)));
    assert.deepEqual(
      threadsOf(vmm.pid).filter((name) => name.startsWith('vcpu')),
      [],
    );
  });
  await t.test('QEMU is in the cgroup to which the client has moved the VMM', () => {
    assert.equal(cgroupOf(qemuOf(vmm.pid)), cgroupOf(vmm.pid));
  });
  await t.test('`virsh save`: vm.pause and vm.snapshot', async () => {
    await done('vm.pause');
    const saved = join(folder, 'saved');
    mkdirSync(saved);
    await done('vm.snapshot', { destination_url: `file://${saved}` });
    assert.deepEqual(
      ['config.json', 'memory-ranges', 'state.json'].filter((name) => !readdirSync(saved).includes(name)),
      [],
    );
    await done('vm.resume');
  });
  await t.test('a disk is hot-plugged and removed', async () => {
    const more = { path: image(folder, 'more.img'), readonly: false, id: 'vdb' };
    assertStatus(await client.put('vm.add-disk', more), 200);
    await until('the guest has it', async () => (await shell.run('head -c 8 /dev/vdb')) === 'more.img');
    await done('vm.remove-device', { id: 'vdb' });
  });
  await t.test('vm.reboot is a booted event, and keeps the PTY', async () => {
    await done('vm.reboot');
    await until('it starts again', () => vmm.events().split('"booted"').length === 3, vmm.events);
    assert.equal((await infoOf(vmm)).config.serial.file, config.serial.file);
  });
  await t.test('vm.shutdown is an event', async () => {
    await done('vm.shutdown');
    await until('it is recorded', () => /"vm",\n {2}"event": "shutdown"/.test(vmm.events()), vmm.events);
  });
  await t.test('vmm.shutdown is the last event, and the exit code is 0', async () => {
    await done('vmm.shutdown');
    assert.equal(await vmm.exited, 0);
    const last = /"source": "vmm",\n {2}"event": "shutdown"/;
    await until('the last is recorded', () => last.test(vmm.events()));
    assert.match(vmm.events(), /"source": "vmm",\n {2}"event": "shutdown",\n {2}"properties": null\n\}\n\n$/);
  });
});

test('libvirt for v36 and later: serial port on a socket, restore with new TAPs', async () => {
  const folder = makeFolder();
  const [saved, socket] = [join(folder, 'saved'), join(folder, 'guest-serial0.sock')];
  mkdirSync(saved);
  const net = { id: 'net_0', mac: '52:54:00:00:11:02' };
  {
    await using vmm = await startAsLibvirt(makeFolder());
    using tap = openTap(1);
    await until('the VMM answers', async () => (await vmm.get('vmm.ping')).status === 200, vmm.output);
    using client = curl(vmm.socket);
    const domain = {
      cpus: { boot_vcpus: 1, max_vcpus: 1 },
      memory: { size: 512 * MIB },
      payload: PAYLOAD,
      disks: [{ path: image(folder, 'root.img'), readonly: false }],
      console: { mode: 'Pty' },
      serial: { mode: 'Socket', socket },
    };
    assertStatus(await client.put('vm.create', domain), 204);
    using sender = connectSending(vmm.socket);
    sendAtOnce(sender, 'vm.add-net', { body: net, fds: tap.fds });
    assert.match(await sender.answer(), /^HTTP\/1\.1 204 \r\n/);
    assertStatus(await client.put('vm.boot'), 204);
    assert.match((await infoOf(vmm)).config.console.file ?? '', /^\/dev\/pts\/\d+$/);
    using shell = openShellOnSocket(socket);
    await shell.login();
    await shell.run('ip addr add 10.78.2.2/24 dev eth0; ip link set eth0 up; kept=$((6 * 7))');
    assertStatus(await client.put('vm.pause'), 204);
    assertStatus(await client.put('vm.snapshot', { destination_url: `file://${saved}` }), 204);
    assertStatus(await client.put('vmm.shutdown'), 204);
    assert.equal(await vmm.exited, 0);
    assert.ok(!existsSync(socket));
  }
  await using vmm = await startAsLibvirt(makeFolder());
  using tap = openTap(1);
  await until('the VMM answers', async () => (await vmm.get('vmm.ping')).status === 200, vmm.output);
  using sender = connectSending(vmm.socket);
  const body = { source_url: `file://${saved}`, net_fds: [{ id: 'net_0', num_fds: 1 }] };
  sendAtOnce(sender, 'vm.restore', { body, fds: tap.fds });
  assert.match(await sender.answer(), /^HTTP\/1\.1 204 \r\n/);
  const { state, config } = await infoOf(vmm);
  assert.equal(state, 'Paused');
  // in the dialect of the domain's vm.create
  assert.deepEqual(Reflect.get(config, 'payload'), PAYLOAD);
  assert.equal(Reflect.get(config, 'kernel'), undefined);
  using client = curl(vmm.socket);
  assertStatus(await client.put('vm.resume'), 204);
  using shell = openShellOnSocket(socket);
  assert.equal(await shell.run('echo $kept'), '42');
  ip('addr', 'add', '10.78.2.1/24', 'dev', tap.name);
  assert.match(await shell.run('ping -c 1 -w 20 10.78.2.1'), / 0% packet loss/);
  assertStatus(await client.put('vm.shutdown'), 204);
});

test('Virtink', async (t) => {
  const folder = makeFolder();
  const shared = join(folder, 'shared');
  mkdirSync(shared);
  writeFileSync(join(shared, 'claim'), 'of the host');
  const fs = join(folder, 'fs.sock');
  await using _virtiofsd = startFsBackend(fs, shared);
  await using vmm = await startVmm({});
  // it polls until the VM exists
  assertStatus(await vmm.get('vm.info'), 404);
  const [tap, mac] = [interfaceName(), '52:54:00:00:22:01'];
  assertStatus(
    await vmm.put('vm.create', {
      payload: PAYLOAD,
      cpus: {
        boot_vcpus: 1,
        max_vcpus: 1,
        topology: { packages: 1, dies_per_package: 1, cores_per_die: 1, threads_per_core: 1 },
        affinity: [{ vcpu: 0, host_cpus: [0, 1] }],
      },
      memory: { size: 512 * MIB, shared: true },
      console: { mode: 'Pty' },
      serial: { mode: 'Tty' },
      disks: [{ id: 'root', path: image(folder, 'root.img'), readonly: false, direct: false }],
      net: [{ id: 'pod', mac, tap }],
      fs: [{ id: 'claims', tag: 'claims', socket: fs, num_queues: 1, queue_size: 1024 }],
      rng: { src: '/dev/urandom' },
    }),
    204,
  );
  await t.test('the states of a boot', async () => {
    assert.equal((await infoOf(vmm)).state, 'Created');
    assertStatus(await vmm.put('vm.boot'), 204);
    assert.equal((await infoOf(vmm)).state, 'Running');
  });
  await t.test('the serial port is on standard output', () =>
    until('the guest asks for a login', () => vmm.output().includes('login:'), vmm.output),
  );
  using shell = openShell(await ptyOf(vmm, 'console'));
  shell.type('\r');
  await shell.login();
  await t.test('the guest has the network and the shared folder', async () => {
    assert.equal(await shell.run('cat /sys/class/net/eth0/address'), mac);
    assert.equal(await shell.run('mount -t virtiofs claims /mnt; cat /mnt/claim'), 'of the host');
  });
  await t.test('a volume is hot-plugged and removed', async () => {
    const volume = { id: 'claim', path: image(folder, 'claim.img'), readonly: false };
    assertStatus(await vmm.put('vm.add-disk', volume), 200);
    await until('the guest has it', async () => (await shell.run('head -c 9 /dev/vdb')) === 'claim.img');
    assertStatus(await vmm.put('vm.remove-device', { id: 'claim' }), 204);
    await until('it is gone', async () => !(await shell.run('ls /dev')).split(/\s+/).includes('vdb'));
  });
  await t.test('the states of vm.pause and vm.resume', async () => {
    for (const [name, state] of [
      ['vm.pause', 'Paused'],
      ['vm.resume', 'Running'],
    ] as const) {
      assertStatus(await vmm.put(name), 204);
      assert.equal((await infoOf(vmm)).state, state);
    }
  });
  await t.test('vm.power-button ends the VMM with exit code 0', async () => {
    assertStatus(await vmm.put('vm.power-button'), 204);
    assert.equal(await vmm.exited, 0);
  });
});
