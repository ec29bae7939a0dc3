// Kata Containers' three clients of the API, each with all calls of a sandbox's lifecycle and its own deadlines.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { addedDevice, assertStatus } from './support/answers.ts';
import { startFsBackend } from './support/backends.ts';
import { connectSending, type SendingClient } from './support/descriptors.ts';
import { interfaceName } from './support/host-network.ts';
import { kata22, kataGo, kataRs, kataRsDisk, type Sandbox } from './support/kata-config.ts';
import { decodeProblems, unknownTo } from './support/kata-go-client.ts';
import { runtimeRsProblems } from './support/kata-rs-client.ts';
import { connectStrict, type StrictClient } from './support/strict-client.ts';
import { openTap } from './support/tap.ts';
import { openTerminal } from './support/terminal.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { startEcho } from './support/vsock.ts';
import { until, within } from './support/wait.ts';

const MIB = 2 ** 20;
/** PCI addresses of hot-plugged devices that Kata finds: segment 0, bus 0, function 0. */
const BDF = /^0000:00:[\da-f]{2}\.0$/;

interface KataInfo {
  readonly state: string;
  readonly config: {
    readonly memory: { readonly size: number; readonly hotplug_size?: number };
    readonly cpus: {
      readonly boot_vcpus: number;
      readonly max_vcpus: number;
      readonly max_phys_bits?: number;
    };
    readonly [device: string]: unknown;
  };
  readonly memory_actual_size: number;
}

/** A sandbox's folder: an image, a shared folder that virtiofsd serves, and the folder of the sockets. */
function makeSandbox(): Sandbox & AsyncDisposable & { readonly folder: string; readonly more: string } {
  const folder = makeFolder();
  const shared = join(folder, 'shared');
  mkdirSync(shared);
  writeFileSync(join(shared, 'container'), 'of the host');
  const [image, more] = ['image', 'volume'].map((name) => {
    const path = join(folder, name);
    writeFileSync(path, `${name} of the host`);
    // a pmem device needs a multiple of 2 MiB
    truncateSync(path, 4 * MIB);
    return path;
  });
  const fs = join(folder, 'virtiofsd.sock');
  const virtiofsd = startFsBackend(fs, shared);
  return {
    folder,
    image: image ?? '',
    more: more ?? '',
    fs,
    vsock: join(folder, 'clh.sock'),
    tap: interfaceName(),
    [Symbol.asyncDispose]: async () => {
      await virtiofsd[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Pings every 10 ms until the VMM answers, for 10 s at most. */
async function waitForStart(vmm: TestVmm): Promise<void> {
  const isUp = async (): Promise<boolean> => (await vmm.get('vmm.ping')).status === 200;
  await until('the VMM answers', isUp, vmm.output, 10_000);
}

async function infoOf(vmm: TestVmm): Promise<KataInfo> {
  const answer = await within(1000, 'vm.info', () => vmm.get('vm.info'));
  assertStatus(answer, 200);
  return answer.json as KataInfo;
}

interface Documented {
  readonly components: {
    readonly schemas: Readonly<Record<string, { readonly properties?: Readonly<Record<string, unknown>> }>>;
  };
}

/**
 * Reads vm.info as the Go runtime does, whose generated types fail on a value of another type. Members that they do not know
 * are passed over; the served document has each of them.
 */
async function generatedInfo(vmm: TestVmm): Promise<KataInfo & { readonly device_tree?: DeviceTree }> {
  const info = await infoOf(vmm);
  assert.deepEqual(decodeProblems('VmInfo', info), []);
  const { components } = (await vmm.get('openapi-everything.json')).json as Documented;
  const undocumented = unknownTo('VmInfo', info).filter((name) => {
    const [struct = '', member = ''] = name.split('.');
    return components.schemas[struct]?.properties?.[member] === undefined;
  });
  assert.deepEqual(undocumented, []);
  return info;
}

type DeviceTree = Readonly<Record<string, { readonly pci_bdf?: unknown }>>;

async function endsWithin3s(vmm: TestVmm): Promise<void> {
  assertStatus(await vmm.put('vmm.shutdown'), 204);
  assert.equal(await within(3000, 'the end of the process', () => vmm.exited), 0);
}

test('Kata 2.2', async () => {
  await using sandbox = makeSandbox();
  using terminal = await openTerminal();
  const { shell } = terminal;
  const socket = join(sandbox.folder, 'clh-api.sock');
  const args = ['--api-socket', socket, '--seccomp', 'false'];
  await using vmm = await startVmm({ api: false, socket, args, terminal: terminal.path });
  await waitForStart(vmm);
  await within(10_000, 'create and boot', async () => {
    assertStatus(await vmm.put('vm.create', kata22(sandbox)), 204);
    assert.equal((await infoOf(vmm)).state, 'Created');
    assertStatus(await vmm.put('vm.boot'), 204);
    assert.equal((await infoOf(vmm)).state, 'Running');
  });
  await shell.login();
  await shell.run('modprobe nd_pmem; until [ -b /dev/pmem0 ]; do :; done');
  assert.equal(await shell.run('head -c 17 /dev/pmem0'), 'image of the host');
  assert.equal(await shell.run('cat /sys/class/net/eth0/address'), '2e:00:00:00:22:01');
  await shell.run('mount -t virtiofs kataShared /mnt');
  assert.equal(await shell.run('cat /mnt/container'), 'of the host');

  for (const [body, shows] of [
    [{ desired_ram: 768 * MIB }, ({ memory }: KataInfo['config']) => memory.size === 768 * MIB],
    [{ desired_vcpus: 2 }, ({ cpus }: KataInfo['config']) => cpus.boot_vcpus === 2],
  ] as const) {
    assertStatus(await within(1000, 'vm.resize', () => vmm.put('vm.resize', body)), 204);
    assert.ok(shows((await infoOf(vmm)).config), JSON.stringify(body));
  }
  assert.equal((await infoOf(vmm)).memory_actual_size, 768 * MIB);
  // as the agent does for each block of RAM that appears
  const online =
    'for one in /sys/devices/system/memory/memory*/state; do echo online >$one; done 2>/dev/null';
  const total = "awk '/MemTotal/ { print $2 }' /proc/meminfo";
  await until(
    'the guest has more RAM',
    async () => Number(await shell.run(`${online}; ${total}`)) > 600 * 1024,
  );
  await endsWithin3s(vmm);
});

/** vm.add-net as the Go runtime sends it: all in one, one TAP descriptor for a pair of queues. */
async function addNet(client: SendingClient, mac: string, fds: readonly number[]): Promise<string> {
  const bandwidth = { size: 100 * MIB, refill_time: 1000 };
  const body = JSON.stringify({ mac, iommu: false, rate_limiter_config: { bandwidth } });
  const head = 'PUT /api/v1/vm.add-net HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
  client.send(`${head}Content-Length: ${body.length}\r\n\r\n${body}`, fds);
  return within(5000, 'vm.add-net', client.answer);
}

test('Kata’s Go runtime', async () => {
  await using sandbox = makeSandbox();
  using terminal = await openTerminal();
  using taps = openTap(2);
  const { shell } = terminal;
  const socket = join(sandbox.folder, 'clh-api.sock');
  const args = ['--api-socket', socket, '-v'];
  await using vmm = await startVmm({ api: false, socket, args, terminal: terminal.path });
  await waitForStart(vmm);
  assert.deepEqual(decodeProblems('VmmPingResponse', (await vmm.get('vmm.ping')).json), []);
  await within(10_000, 'create and boot', async () => {
    assertStatus(await vmm.put('vm.create', kataGo(sandbox)), 204);
    assert.equal((await generatedInfo(vmm)).state, 'Created');
    using client = connectSending(vmm.socket);
    const added = await addNet(client, '2e:00:00:00:60:01', taps.fds);
    assert.equal(
      added,
      'HTTP/1.1 204 \r\nServer: Cloud Hypervisor API\r\nConnection: keep-alive\r\n\r\n',
      'the difference that Kata makes between booted and not',
    );
    assertStatus(await vmm.put('vm.boot'), 204);
    assert.equal((await generatedInfo(vmm)).state, 'Running');
  });
  await shell.login();
  assert.equal(await shell.run('cat /sys/class/net/eth0/address'), '2e:00:00:00:60:01');
  assert.equal(await shell.run('ls -d /sys/class/net/eth0/queues/rx-* | wc -l'), '2');
  assert.equal(await shell.run('head -c 17 /dev/vda'), 'image of the host');

  await startEcho(shell, 1024);
  const agent = connect(sandbox.vsock);
  agent.write('CONNECT 1024\n');
  const [line] = (await once(agent, 'data')) as [Buffer];
  assert.match(line.toString(), /^OK \d+\n$/);
  agent.destroy();

  const volume = {
    path: sandbox.more,
    readonly: false,
    image_type: 'Raw',
    vhost_user: false,
    direct: false,
    num_queues: 2,
    queue_size: 1024,
    iommu: false,
  };
  const added = await within(5000, 'vm.add-disk', () => vmm.put('vm.add-disk', volume));
  const { id, bdf } = addedDevice(added);
  assert.match(bdf, BDF);
  assert.deepEqual(decodeProblems('PciDeviceInfo', added.json), []);
  const { device_tree: tree } = await generatedInfo(vmm);
  assert.equal(tree?.[`_virtio-pci-${id}`]?.pci_bdf, bdf, 'of current versions it is a text');
  const block = `/sys/bus/pci/devices/${bdf}/virtio*/block`;
  await until('the guest has it', async () => (await shell.run(`ls ${block}`)) === 'vdb');
  assert.equal(await shell.run('head -c 18 /dev/vdb'), 'volume of the host');
  assertStatus(await within(5000, 'vm.remove-device', () => vmm.put('vm.remove-device', { id })), 204);
  await until('the guest has lost it', async () => (await shell.run(`ls /dev/vdb 2>&1`)).includes('No such'));

  for (const name of ['vm.pause', 'vm.resume'] as const) {
    assertStatus(await within(1000, name, () => vmm.put(name)), 204);
  }
  assert.equal(await shell.run('echo alive'), 'alive');
  assertStatus(await within(1000, 'vm.resize', () => vmm.put('vm.resize', { desired_ram: 640 * MIB })), 204);
  const { config } = await generatedInfo(vmm);
  assert.deepEqual([config.memory.size, config.memory.hotplug_size], [640 * MIB, 1024 * MIB]);
  assert.deepEqual([config.cpus.boot_vcpus, config.cpus.max_vcpus], [2, 4]);
  await endsWithin3s(vmm);
});

test('Kata runtime-rs', async () => {
  await using sandbox = makeSandbox();
  using tap = openTap(1);
  const socket = join(sandbox.folder, 'ch-api.sock');
  await using vmm = await startVmm({ api: false, socket, args: ['--api-socket', socket, '-v'] });
  await waitForStart(vmm);
  using client = await connectStrict(socket);
  const call = async (status: number, name: string, body?: unknown): Promise<unknown> => {
    const answer = await client.put(name, body);
    assert.equal(answer.status, status, answer.body);
    return answer.body === undefined ? undefined : JSON.parse(answer.body);
  };
  const ping = JSON.parse((await client.get('vmm.ping')).body ?? '') as { readonly features?: unknown };
  assert.deepEqual(ping.features, []);
  await within(10_000, 'create and boot', async () => {
    await call(204, 'vm.create', kataRs(sandbox));
    await call(204, 'vm.boot');
  });
  await strictInfo(client);
  await until('the guest is up', () => vmm.output().includes('login:'), vmm.output);
  // runtime-rs parses the levels of the log's lines
  assert.match(vmm.output(), / INFO:/);

  const limits = { bandwidth: { size: 100 * MIB, one_time_burst: null, refill_time: 1000 }, ops: null };
  const volume = { ...kataRsDisk(sandbox.more), readonly: false, rate_limiter_config: limits };
  const disk = (await call(200, 'vm.add-disk', volume)) as { readonly id: string; readonly bdf: string };
  assert.deepEqual(runtimeRsProblems('PciDeviceInfo', disk), []);
  assert.match(disk.bdf, BDF);
  // the guest's kernel names the slot when it finds the device
  await until('the guest sees the disk', () => vmm.output().includes(`pci ${disk.bdf}: [1af4:1042]`));

  // a second connection: the first one sends no descriptors
  using sender = connectSending(socket);
  sender.send('PUT /api/v1/vm.add-net HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n', tap.fds);
  const address = { mac: '2e:00:00:00:70:01', ip: '192.168.249.1', mask: '255.255.255.0', iommu: false };
  const queues = { num_queues: 2, queue_size: 256, vhost_user: false, vhost_mode: 'Client' };
  // the shim chooses the number
  const body = JSON.stringify({ ...address, ...queues, fds: [27] });
  sender.send(`Content-Length: ${body.length}\r\n`);
  sender.send('\r\n');
  sender.send(body);
  const added = await sender.answer();
  const bdf = /^HTTP\/1\.1 200 \r\n[^]*"bdf":"(0000:00:[\da-f]{2}\.0)"\}$/.exec(added)?.[1];
  assert.ok(bdf !== undefined, added);
  await until('the guest sees the network', () => vmm.output().includes(`pci ${bdf}: [1af4:1041]`));
  await strictInfo(client);

  await call(204, 'vm.resize', { desired_vcpus: null, desired_ram: 768 * MIB, desired_balloon: null });
  assert.equal((await strictInfo(client)).config.memory.size, 768 * MIB);
  await call(204, 'vm.remove-device', { id: disk.id });
  for (const name of ['vm.pause', 'vm.resume']) await within(1000, name, () => call(204, name));
  await call(204, 'vmm.shutdown');
  assert.equal(await within(3000, 'the end of the process', () => vmm.exited), 0);
});

/** Returns vm.info of a running VM, as runtime-rs reads it. */
async function strictInfo(client: StrictClient): Promise<KataInfo> {
  const { status, body, ms } = await client.get('vm.info');
  assert.equal(status, 200);
  assert.ok(ms < 1000);
  const info = JSON.parse(body ?? '') as KataInfo;
  assert.deepEqual(runtimeRsProblems('VmInfo', info), []);
  assert.equal(info.state, 'Running');
  return info;
}
