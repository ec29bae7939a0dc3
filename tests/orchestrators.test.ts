// libvirt's driver and Virtink, each with all it calls in a domain's life and its own patience
// (reference/clients.md 4 and 5, W12).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { startFsBackend } from './support/backends.ts';
import { connectSending, openTap } from './support/descriptors.ts';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { qemuOf } from './support/host.ts';
import { infoOf } from './support/info.ts';
import { interfaceName } from './support/network.ts';
import { openShell, ptyOf } from './support/shell.ts';
import { until } from './support/until.ts';
import { assertStatus, makeFolder, startVmm, type Answer, type TestVmm } from './support/vmm.ts';
import { within } from './support/within.ts';

const MIB = 2 ** 20;
const PAYLOAD = { kernel: KERNEL, initramfs: INITRAMFS, cmdline: 'console=ttyS0 root=/dev/vda1' };

/** An image of 4 MiB that begins with its name. */
function image(folder: string, name: string): string {
  const path = join(folder, name);
  writeFileSync(path, name);
  truncateSync(path, 4 * MIB);
  return path;
}

function threadsOf(pid: number): string[] {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).map((tid) => readFileSync(`${tasks}/${tid}/comm`, 'utf8').trim());
}

function cgroupOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
}

/** libvirt's way: it listens by itself, hands the socket down, and reads events from a FIFO. */
async function startAsLibvirt(folder: string): Promise<TestVmm & { readonly events: () => string }> {
  const socket = join(folder, 'guest-socket');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ path: `${socket}.made`, backlog: 1 }, resolve));
  const handle: unknown = Reflect.get(server, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  assert.ok(typeof fd === 'number');
  const fifo = join(folder, 'guest-event-monitor-fifo');
  execFileSync('mkfifo', [fifo]);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const vmm = await startVmm({
    api: false,
    socket,
    args: ['--api-socket', 'fd=3', '--event-monitor', `path=${fifo}`],
    inherited: [fd],
    through: ['sh', '-c', 'umask 002; exec "$@"', 'libvirtd'],
  });
  // closing removes the file where it was made
  renameSync(`${socket}.made`, socket);
  server.close();
  let told = '';
  return {
    ...vmm,
    events: () => {
      told += readNow(reader);
      return told;
    },
    [Symbol.asyncDispose]: async () => {
      closeSync(reader);
      await vmm[Symbol.asyncDispose]();
    },
  };
}

/** What a FIFO holds just now. */
function readNow(fd: number): string {
  const buffer = Buffer.alloc(65_536);
  try {
    return buffer.toString('utf8', 0, readSync(fd, buffer));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return '';
    throw error;
  }
}

/** libcurl's requests on one connection, with `Content-Length: 0` where there is no body. */
function curl(
  socketPath: string,
): Disposable & { readonly put: (name: string, body?: unknown) => Promise<Answer> } {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const put = (name: string, body?: unknown): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) };
      const path = `/api/v1/${name}`;
      const outgoing = request({ socketPath, agent, method: 'PUT', path, headers }, (incoming) => {
        let got = '';
        incoming.on('data', (part: Buffer) => (got += part.toString('utf8')));
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, json: got === '' ? undefined : JSON.parse(got) }),
        );
      });
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  return { put, [Symbol.dispose]: () => agent.destroy() };
}

test('libvirt: its own socket and FIFO, networks by descriptor in 500 ms, PTYs in vm.info, a saved domain', async () => {
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

  const body = JSON.stringify({ id: 'net_0', mac: '52:54:00:00:11:01' });
  const head = 'PUT /api/v1/vm.add-net HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
  using sender = connectSending(vmm.socket);
  const added = await within(500, 'vm.add-net', () => {
    sender.send(`${head}Content-Length: ${body.length}\r\n\r\n${body}`, tap.fds);
    return sender.answer();
  });
  assert.match(added, /^HTTP\/1\.1 20[04] \r\n/);

  await done('vm.boot');
  const { config } = await infoOf(vmm);
  for (const which of [config.serial, config.console]) assert.match(which.file ?? '', /^\/dev\/pts\/\d+$/);
  using shell = openShell(config.serial.file ?? '');
  await shell.login();
  using second = openShell(config.console.file ?? '');
  second.type('\r');
  await second.sees('login:');
  assert.equal(await shell.run('head -c 8 /dev/vda'), 'root.img');
  assert.equal(await shell.run('cat /sys/class/net/eth0/address'), '52:54:00:00:11:01');

  // W13: the vCPUs are threads of the engine's process, by QEMU's names; libvirt then only refuses to pin them
  assert.ok(threadsOf(qemuOf(vmm.pid)).some((name) => /^CPU 0\/(TCG|KVM|HVF)$/.test(name)));
  assert.deepEqual(
    threadsOf(vmm.pid).filter((name) => name.startsWith('vcpu')),
    [],
  );
  // what a client did to the daemon before the boot holds for the engine too
  assert.equal(cgroupOf(qemuOf(vmm.pid)), cgroupOf(vmm.pid));

  await done('vm.pause');
  const saved = join(folder, 'saved');
  mkdirSync(saved);
  await done('vm.snapshot', { destination_url: `file://${saved}` });
  assert.deepEqual(
    ['config.json', 'memory-ranges', 'state.json'].filter((name) => !readdirSync(saved).includes(name)),
    [],
  );
  await done('vm.resume');
  const disk = await client.put('vm.add-disk', {
    path: image(folder, 'more.img'),
    readonly: false,
    id: 'vdb',
  });
  assertStatus(disk, 200);
  await until('the guest has it', async () => (await shell.run('head -c 8 /dev/vdb')) === 'more.img');
  await done('vm.remove-device', { id: 'vdb' });
  await done('vm.reboot');
  await until('it starts again', () => vmm.events().split('"booted"').length === 3, vmm.events);
  assert.equal((await infoOf(vmm)).config.serial.file, config.serial.file);
  await done('vm.shutdown');
  await until('it is told', () => /"vm",\n {2}"event": "shutdown"/.test(vmm.events()), vmm.events);
  await done('vmm.shutdown');
  assert.equal(await vmm.exited, 0);
  await until('the last is told', () => /"source": "vmm",\n {2}"event": "shutdown"/.test(vmm.events()));
  assert.match(vmm.events(), /"source": "vmm",\n {2}"event": "shutdown",\n {2}"properties": null\n\}\n\n$/);
});

test('Virtink: hypervisor options that are not here are passed over, volumes come and go, the power button ends it', async () => {
  const folder = makeFolder();
  const shared = join(folder, 'shared');
  mkdirSync(shared);
  writeFileSync(join(shared, 'claim'), 'of the host');
  const fs = join(folder, 'fs.sock');
  await using _virtiofsd = startFsBackend(fs, shared);
  await using vmm = await startVmm({});
  // it polls for a VM that is not there yet
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
  assert.equal((await infoOf(vmm)).state, 'Created');
  assertStatus(await vmm.put('vm.boot'), 204);
  assert.equal((await infoOf(vmm)).state, 'Running');
  await until('the serial port is on standard output', () => vmm.output().includes('login:'), vmm.output);
  using shell = openShell(await ptyOf(vmm, 'console'));
  shell.type('\r');
  await shell.login();
  assert.equal(await shell.run('cat /sys/class/net/eth0/address'), mac);
  assert.equal(await shell.run('mount -t virtiofs claims /mnt; cat /mnt/claim'), 'of the host');

  const volume = { id: 'claim', path: image(folder, 'claim.img'), readonly: false };
  assertStatus(await vmm.put('vm.add-disk', volume), 200);
  await until('the guest has it', async () => (await shell.run('head -c 9 /dev/vdb')) === 'claim.img');
  assertStatus(await vmm.put('vm.remove-device', { id: 'claim' }), 204);
  await until('it is gone', async () => !(await shell.run('ls /dev')).split(/\s+/).includes('vdb'));
  for (const [name, state] of [
    ['vm.pause', 'Paused'],
    ['vm.resume', 'Running'],
  ] as const) {
    assertStatus(await vmm.put(name), 204);
    assert.equal((await infoOf(vmm)).state, state);
  }
  assertStatus(await vmm.put('vm.power-button'), 204);
  assert.equal(await vmm.exited, 0);
});
