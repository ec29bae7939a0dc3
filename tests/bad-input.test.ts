// Invalid configurations of each section, at boot and hot-plugged: the error names device and path,
// and no resource is left.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Answer, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { interfaces } from './support/host-network.ts';
import { makeImage } from './support/images.ts';
import { childrenOf, descriptorsOf, qemuOf } from './support/processes.ts';
import { type Monitor, openMonitor } from './support/qemu-monitor.ts';
import { openTap } from './support/tap.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const MEMORY = { size: 256 * MIB, shared: true };
/** 400 where the configuration shows the fault, 500 where the host does. */
type Row = readonly [config: object, status: 400 | 404 | 500, message: string];

/** Files for all rows; their names have characters that separate words and options. */
function makeFiles(folder: string) {
  const at = (name: string): string => join(folder, `${name}, "é"`);
  const files = { none: at('none'), folder: at('folder'), file: at('file'), odd: at('odd') };
  mkdirSync(files.folder);
  writeFileSync(files.file, 'x');
  makeImage(files.odd, 3 * MIB, 'x');
  return { ...files, long: join(folder, 'x'.repeat(107)) };
}

type Files = ReturnType<typeof makeFiles>;
const NO_FILE = 'no such file or directory';
const FOLDER = 'illegal operation on a directory';

/** Host resources in use by another process. */
interface Taken {
  /** an interface */
  readonly tap: string;
  /** of TCP on 127.0.0.1 */
  readonly port: number;
  /** a port on which nothing listens */
  readonly free: number;
}

/** Opens a TAP and a port until the test ends. */
async function takeSome(): Promise<Taken & Disposable> {
  const [held, other] = [createServer(), createServer()];
  const [port, free] = [await portOf(held), await portOf(other)];
  await new Promise((resolve) => other.close(resolve));
  const tap = openTap(1);
  const giveBack = (): void => {
    tap[Symbol.dispose]();
    held.close();
  };
  return { tap: tap.name, port, free, [Symbol.dispose]: giveBack };
}

async function portOf(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

/** Rows of hot-plug devices, each with the id `my, one`. */
function devices({ none, folder, file, odd, long }: Files, taken: Taken): Record<string, readonly Row[]> {
  const served = { vhost_user: true };
  const forward = (host_port: number): object => ({ host_port, guest_port: 22 });
  return {
    disk: [
      [{ path: none }, 500, `disk my, one: ${none}: ${NO_FILE}`],
      [{ path: folder }, 500, `disk my, one: ${folder}: ${FOLDER}`],
      [{ path: file }, 500, `disk my, one: ${file}: is shorter than one sector (512 bytes)`],
      [{ path: '/dev/null' }, 500, 'disk my, one: /dev/null: is neither a file nor a block device'],
      [{}, 400, 'disks[0].path: a disk needs a path'],
      [{ path: odd, num_queues: 2 }, 400, 'disks[0]: Number of vCPUs is insufficient for number of queues'],
      [
        { path: odd, queue_size: 100 },
        400,
        'disks[0].queue_size: must be a power of two from 4 to 1024, got 100',
      ],
      [{ ...served, vhost_socket: file }, 500, `disk my, one: ${file}: is not a socket`],
      [{ ...served, vhost_socket: long }, 500, `disk my, one: ${long}: longer than 107 bytes`],
      [{ ...served }, 400, 'disks[0]: No socket provided when using vhost-user'],
    ],
    net: [
      [{ tap: 'a-name-too-long-' }, 400, 'net[0].tap: "a-name-too-long-" is longer than 15 bytes'],
      [{ tap: 'a b' }, 400, 'net[0].tap: "a b" is no name of an interface'],
      [{ tap: 'lo' }, 500, 'net my, one: tap lo: is an interface of another kind, not a TAP'],
      [{ tap: taken.tap }, 500, `net my, one: tap ${taken.tap}: is in use by another program`],
      [
        { backend: 'user', forwards: [forward(taken.free), forward(taken.port)] },
        500,
        `net my, one: forward: 127.0.0.1:${taken.port} (tcp) is in use by another program, or `,
      ],
      [{ mac: '01:00:5e:00:00:01' }, 400, 'net[0].mac: 01:00:5e:00:00:01 is a multicast address'],
      [{ host_mac: '03:00:00:00:00:01' }, 400, 'net[0].host_mac: 03:00:00:00:00:01 is a multicast address'],
      [{ mac: '52:54:00:00:00' }, 400, 'mac'],
      [{ ip: '10.0.0.256' }, 400, 'ip'],
      [{ mask: '255.0.255.0' }, 400, 'net[0].mask: 255.0.255.0 is no netmask'],
      [{ fd: [99] }, 500, 'net my, one: fd 99 is no TAP of this process'],
      [{ fd: [1] }, 400, 'net[0]: Reserved fd number (<= 2)'],
      [{ ...served, vhost_socket: file }, 500, `net my, one: ${file}: is not a socket`],
      [
        { ...served, vhost_socket: file, vhost_mode: 'Server' },
        500,
        `net my, one: ${file}: something that is not a socket is there`,
      ],
    ],
    pmem: [
      [{ file: none }, 500, `pmem my, one: ${none}: ${NO_FILE}`],
      [{ file: folder }, 500, `pmem my, one: ${folder}: a folder needs a size`],
      [{ file: odd }, 500, `pmem my, one: ${odd}: has ${3 * MIB} bytes: `],
      [
        { file: odd, size: 4 * MIB },
        500,
        `pmem my, one: ${odd}: has ${3 * MIB} bytes, ${4 * MIB} are asked for`,
      ],
      [{ file: odd, size: MIB }, 400, `pmem[0].size: must be a multiple of 2 MiB above 0, got ${MIB}`],
    ],
    fs: [
      [{ tag: 't', socket: file }, 500, `fs my, one: ${file}: is not a socket`],
      [{ tag: 't', socket: folder }, 500, `fs my, one: ${folder}: is not a socket`],
      [{ tag: 't', socket: long }, 500, `fs my, one: ${long}: longer than 107 bytes`],
      [{ tag: '', socket: file }, 400, 'fs[0].tag: must have 1 to 36 bytes'],
      [{ tag: 't'.repeat(37), socket: file }, 400, 'fs[0].tag: must have 1 to 36 bytes'],
    ],
    vsock: [
      [{ cid: 3, socket: file }, 500, `vsock my, one: ${file}: something that is not a socket is there`],
      [
        { cid: 3, socket: join(none, 's') },
        500,
        `vsock my, one: ${join(none, 's')}: there is no directory ${none}`,
      ],
      [{ cid: 3, socket: long }, 500, `vsock my, one: ${long}: the path has `],
      [{ cid: 2, socket: none }, 400, 'cid: expected a whole number from 3 '],
      [{ cid: 2 ** 32, socket: none }, 400, 'vsock.cid: larger than'],
    ],
    device: [
      [{ path: none }, 500, `device my, one: ${none}: ${NO_FILE}`],
      [{ path: file }, 500, `device my, one: ${file}: is no PCI device in sysfs`],
    ],
  };
}

/** Rows of sections that only a boot has. */
function sections({ none, folder, file, odd }: Files): readonly Row[] {
  const zones = (...more: object[]): object => ({
    memory: { size: 0, shared: true, zones: more.map((one, i) => ({ id: `z${i}`, size: 64 * MIB, ...one })) },
  });
  return [
    [{ kernel: { path: none } }, 500, `kernel ${none}: ${NO_FILE}`],
    [{ kernel: { path: folder } }, 500, `kernel ${folder}: ${FOLDER}`],
    [{ kernel: { path: '' } }, 400, 'kernel.path: No kernel specified'],
    [{ initramfs: { path: none } }, 500, `initramfs: ${none}: ${NO_FILE}`],
    [{ initramfs: { path: folder } }, 500, `initramfs: ${folder}: `],
    [{ cmdline: { args: 'é' } }, 400, 'cmdline.args: only printable ASCII is possible'],
    [{ cmdline: { args: 'x'.repeat(65_537) } }, 400, 'cmdline.args: longer than 65536 bytes'],
    [{ rng: { src: none } }, 500, `rng _rng: ${none}: ${NO_FILE}`],
    [{ rng: { src: folder } }, 500, `rng _rng: ${folder}: is a directory`],
    [
      { serial: { mode: 'File', file: join(none, 'f') } },
      500,
      `serial _serial: ${join(none, 'f')}: ${NO_FILE}`,
    ],
    [{ console: { mode: 'File', file: folder } }, 500, `console _console: ${folder}: ${FOLDER}`],
    [{ console: { mode: 'File' } }, 400, 'console.file: Path missing when using file console mode'],
    [{ memory: { size: 256 * MIB + 1 } }, 400, 'memory.size: must be a multiple of 4096'],
    [zones({ size: 100 }), 400, 'memory.zones[0].size: must be a multiple of 4096, got 100'],
    [zones({ file: none }), 500, `memory zone z0: ${none}: ${NO_FILE}`],
    [zones({ file: odd }), 500, `memory zone z0: ${odd}: has ${3 * MIB} bytes, ${64 * MIB} are needed`],
    [zones({}, { id: 'z0' }), 400, 'memory.zones[1].id: "z0" is taken by memory.zones[0]'],
    [
      { ...zones({}), numa: [{ memory_zones: ['z0'] }, { guest_numa_id: 1, memory_zones: ['z0'] }] },
      400,
      'numa[1].memory_zones[0]: z0 is listed in numa[0].memory_zones[0] already',
    ],
    [{ numa: [{ memory_zones: ['zone'] }] }, 400, 'numa[0].memory_zones[0]: no memory zone "zone"'],
    [{ numa: [{ cpus: [7] }] }, 400, 'numa[0].cpus[0]: no vCPU 7 (max_vcpus 1)'],
    [{ sgx_epc: [{ id: 'e', size: 4095 }] }, 400, 'sgx_epc[0].size: must be a multiple of 4096 above 0'],
    [{ sgx_epc: [{ id: 'e', size: 4096 }] }, 500, 'sgx_epc e: /dev/sgx_vepc: '],
    [{ cpus: { boot_vcpus: 1, max_vcpus: 1, kvm_hyperv: true } }, 500, 'cpus.kvm_hyperv: needs KVM, '],
    [{ platform: { uuid: 'u' } }, 400, 'platform.uuid: "u" is no UUID'],
    [
      {
        disks: [
          { path: file, id: 'a' },
          { path: odd, id: 'a' },
        ],
      },
      400,
      'disks[1].id: "a" is taken by disks[0]',
    ],
    [{ disks: [{ path: file, id: '_rng' }] }, 400, 'disks[0].id: "_rng" is reserved'],
  ];
}

const MEMBERS: Readonly<Record<string, string>> = { disk: 'disks', device: 'devices' };

/** Processes, interfaces and files of the VMM. */
function traces(vmm: TestVmm) {
  return {
    children: childrenOf(vmm.pid).map(({ command }) => command),
    interfaces: interfaces(),
    files: readdirSync(vmm.folder),
  };
}

/** Fails where the answer is another, or a resource is left. */
async function refuses(
  vmm: TestVmm,
  [config, status, message]: Row,
  act: () => Promise<Answer>,
): Promise<void> {
  const before = { ...traces(vmm), open: descriptorsOf(vmm.pid).length };
  const answer = await act();
  const shown = `${JSON.stringify(config).slice(0, 200)}: ${answer.status} ${JSON.stringify(answer.json)}`;
  const text = Array.isArray(answer.json) ? answer.json.join('\n') : '';
  assert.ok(answer.status === status && text.includes(message), `${shown}, not ${status} ${message}`);
  assert.deepEqual({ ...traces(vmm), open: before.open }, before, shown);
  await until(
    'nothing is left open',
    () => descriptorsOf(vmm.pid).length <= before.open,
    () => shown,
  );
}

/** Runs all rows, so that one run lists all failures. */
async function each(rows: readonly Row[], look: (row: Row) => Promise<void>): Promise<void> {
  const wrong: string[] = [];
  for (const row of rows) {
    await look(row).catch((error: unknown) => wrong.push(error instanceof Error ? error.message : ''));
  }
  assert.deepEqual(wrong, []);
}

async function attempt(vmm: TestVmm, config: object): Promise<Answer> {
  const created = await vmm.put('vm.create', guestConfig({ memory: MEMORY, ...config }));
  if (created.status !== 204) return created;
  const booted = await vmm.put('vm.boot');
  assertStatus(await vmm.put('vm.delete'), 204);
  return booted;
}

/** State of QEMU: buses, back-ends and objects as its monitor prints them, and its file descriptors. */
async function stateOfQemu(vmm: TestVmm, monitor: Monitor) {
  return {
    info: JSON.stringify((await vmm.get('vm.info')).json),
    words: await monitor.ask(
      'info pci',
      'info block -n',
      'info network',
      'info chardev',
      'info memdev',
      'info memory_size_summary',
      'info qom-tree',
    ),
    open: descriptorsOf(qemuOf(vmm.pid)),
  };
}

/** Invalid changes of a running VM, except devices. */
const CHANGES: Readonly<Record<string, readonly Row[]>> = {
  'vm.resize': [
    [{ desired_vcpus: 0 }, 400, 'desired_vcpus: expected a whole number from 1 to 255, got 0'],
    [{ desired_vcpus: 2 }, 400, 'desired_vcpus: must be from 1 to max_vcpus (1), got 2'],
    [{ desired_ram: 512 * MIB }, 400, 'desired_ram: '],
    [{ desired_ram: 0 }, 400, 'desired_ram: '],
    [{ desired_ram: 256 * MIB + 1 }, 400, 'desired_ram: '],
    [{ desired_balloon: MIB }, 400, 'desired_balloon: '],
  ],
  'vm.resize-zone': [[{ id: 'no, zone', desired_ram: 512 * MIB }, 400, 'no, zone']],
  'vm.resize-disk': [[{ id: 'no, disk', desired_size: 64 * MIB }, 404, 'No disk is called "no, disk"']],
  'vm.remove-device': [
    [{ id: 'no, device' }, 404, 'No device is called "no, device"'],
    [{ id: '_rng' }, 400, '_rng: rng cannot be removed while the VM runs'],
    [{ id: '_console' }, 400, '_console: console cannot be removed while the VM runs'],
  ],
};

test('invalid configurations are refused at boot, by name, and leave nothing', async () => {
  await using vmm = await startVmm();
  using taken = await takeSome();
  const files = makeFiles(vmm.folder);
  // files that stay open are opened before the first count
  await attempt(vmm, {});
  await each(sections(files), (row) => refuses(vmm, row, () => attempt(vmm, row[0])));
  for (const [kind, rows] of Object.entries(devices(files, taken))) {
    const member = MEMBERS[kind] ?? kind;
    await each(rows, (row) => {
      const one = { ...row[0], id: 'my, one' };
      return refuses(vmm, row, () => attempt(vmm, { [member]: kind === 'vsock' ? one : [one] }));
    });
  }
});

test('invalid requests to a running VM are refused by name and leave QEMU unchanged', async () => {
  using monitor = openMonitor();
  await using vmm = await startVmm({ env: monitor.env });
  using taken = await takeSome();
  const files = makeFiles(vmm.folder);
  // until the shell runs, the guest assigns addresses to its devices
  using _shell = await boot(vmm, { memory: MEMORY, console: { mode: 'Null' } });
  // on a busy host vm.info does not wait for an answer of QEMU
  await until('vm.info has the addresses', async () =>
    JSON.stringify((await vmm.get('vm.info')).json).includes('MmioAddressRange'),
  );
  const before = await stateOfQemu(vmm, monitor);
  const look = (path: string, rows: readonly Row[]): Promise<void> =>
    each(rows, async (row) => {
      await refuses(vmm, row, () => vmm.put(path, row[0]));
      assert.deepEqual(await stateOfQemu(vmm, monitor), before, JSON.stringify(row));
    });
  for (const [kind, rows] of Object.entries(devices(files, taken))) {
    await look(
      `vm.add-${kind}`,
      rows.map(([config, ...rest]): Row => [{ ...config, id: 'my, one' }, ...rest]),
    );
  }
  for (const [path, rows] of Object.entries(CHANGES)) await look(path, rows);
  // a valid device is added afterwards, in the first free slot
  const added = await vmm.put('vm.add-disk', { path: files.odd, id: 'my, one' });
  // this change must be visible to the comparison
  assert.deepEqual(added, { status: 200, json: { id: 'my, one', bdf: '0000:00:04.0' } });
  assert.notDeepEqual((await stateOfQemu(vmm, monitor)).words, before.words);
});
