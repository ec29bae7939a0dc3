// Devices of each kind in one VM, observed in the guest, in vm.info and on the host.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as v from 'valibot';
import { assertStatus } from './support/answers.ts';
import { startBlockBackend, startFsBackend } from './support/backends.ts';
import { deleteVm, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { descriptorsOf } from './support/processes.ts';
import type { Shell } from './support/shell.ts';
import { queueSizes } from './support/virtio-queues.ts';
import { infoOf, stateOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const AWKWARD = 'a, "b" é';
const BACKEND = { vhost_user: true, num_queues: 2, queue_size: 64, poll_queue: false };

/** The order of slots, from slot 2; devices without a name share one counter. */
const IN_ORDER = [
  ...['_console', 'mine', '_disk0', '_disk1', '_net2', '_rng', 'my, fs', '_pmem3'],
  ...['_watchdog', '_iommu'],
];
/** Vendor and device of each, by the virtio specification and Intel's data sheet of the 6300ESB. */
const PCI_IDS = [
  '1af4 1043',
  ...Array(3).fill('1af4 1042'),
  '1af4 1041',
  '1af4 1044',
  '1af4 105a',
  '1af4 105b',
  '8086 25ab',
  '1af4 1057',
];
/** Devices with `iommu` and without a back-end. */
const BEHIND = ['_console', 'mine', '_net2', '_rng', '_pmem3'];
const slotOf = (id: string): number => IN_ORDER.indexOf(id) + 2;
const bdfOf = (id: string): string => `0000:00:${slotOf(id).toString(16).padStart(2, '0')}.0`;

function image(vmm: TestVmm, name: string, mib: number): string {
  const path = join(vmm.folder, name);
  makeImage(path, mib * MIB, `image ${name}`);
  return path;
}

function machine(vmm: TestVmm, shared: string): Record<string, unknown> {
  const at = (name: string): string => join(vmm.folder, `${AWKWARD} ${name}`);
  mkdirSync(shared);
  writeFileSync(join(shared, 'from-host'), 'of the host');
  return guestConfig({
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    memory: { size: 512 * MIB, shared: true },
    // with it the guest's root may look at registers that a driver uses
    cmdline: { args: 'console=ttyS0 iomem=relaxed' },
    serial: { mode: 'Pty', iommu: true },
    console: { mode: 'Null', iommu: true },
    disks: [
      { path: image(vmm, 'first', 8), iommu: true, id: 'mine' },
      { ...BACKEND, vhost_socket: at('disk'), iommu: true },
      { path: image(vmm, 'third', 16) },
    ],
    net: [{ backend: 'user', iommu: true }],
    rng: { src: '/dev/urandom', iommu: true },
    fs: [{ tag: 'my, tag', socket: at('fs'), queue_size: 512, id: 'my, fs' }],
    pmem: [{ file: image(vmm, 'persistent', 8), iommu: true }],
    watchdog: true,
    iommu: true,
  });
}

/** Address ranges of a node's resources, as /proc/iomem writes them. */
const Resource = v.object({ MmioAddressRange: v.object({ base: v.number(), size: v.number() }) });
const rangesOf = (resources: readonly unknown[]): string[] =>
  v
    .parse(v.array(Resource), resources)
    .map(({ MmioAddressRange: { base, size } }) =>
      [base, base + size - 1].map((address) => address.toString(16).padStart(8, '0')).join('-'),
    );
const treeOf = async (vmm: TestVmm) => (await infoOf(vmm)).device_tree ?? {};

test('a VM with a device of each kind', async (t) => {
  await using vmm = await startVmm();
  const shared = join(vmm.folder, 'shared');
  const at = (name: string): string => join(vmm.folder, `${AWKWARD} ${name}`);
  const served = image(vmm, 'served', 12);
  assertStatus(await vmm.put('vm.create', machine(vmm, shared)), 204);
  // the back-ends start after the VMM waits for them
  const booting = vmm.put('vm.boot');
  await until('the VMM waits for the back-ends', () =>
    vmm.output().includes('_disk0: iommu, poll_queue: only its back-end can do this'),
  );
  await t.test('iommu of a serial port is reported to have no effect', () => {
    assert.match(vmm.output(), /serial.* iommu: .* nothing to translate/);
  });
  await using blockBackend = startBlockBackend(at('disk'), served, { queues: 2 });
  await using _fs = startFsBackend(at('fs'), shared);
  assertStatus(await booting, 204);
  using shell = await login(vmm);
  await shell.run('modprobe nd_pmem; until [ -b /dev/pmem0 ]; do :; done');

  await t.test('each is in its slot, with vendor and device id of its kind', () => seesSlots(shell));
  await t.test('vm.info has the tree and the address ranges that the guest assigned', () =>
    seesTree(vmm, shell),
  );
  await t.test('devices with iommu, and no others, negotiate VIRTIO_F_ACCESS_PLATFORM', () =>
    seesIommu(shell),
  );
  await t.test('queue sizes are as configured', () => seesQueues(shell));
  await t.test('disks of images and of a back-end are read and written', () => seesDisks(shell));
  await t.test('the network works behind the vIOMMU', () => seesNetwork(shell));
  await t.test('the shared folder is written on both sides', () => seesFolder(shell, shared));

  await blockBackend[Symbol.asyncDispose]();
  await using _again = startBlockBackend(at('disk'), served, { queues: 2 });
  await t.test('a block back-end that is restarted is used again', async () => {
    assert.equal(
      await shell.run(`dd if=/dev/vdb bs=4k skip=100 count=1 iflag=direct 2>/dev/null | wc -c`),
      '4096',
    );
  });

  await t.test('a shared folder is hot-plugged and removed', () => addsAndRemovesFolder(vmm, shell));
  await t.test('a hot-plug with more queues than the back-end has fails, or is there', () =>
    addsTooManyQueues(vmm, shell),
  );
});

async function seesSlots(shell: Shell): Promise<void> {
  const seen = await shell.run(
    'cd /sys/bus/pci/devices; for d in *; do echo $d $(cut -c 3- $d/vendor $d/device); done; cd',
  );
  const ours = seen.split('\n').filter((line) => line.slice(8, 10) >= '02');
  assert.deepEqual(
    ours,
    IN_ORDER.map((id, i) => `${bdfOf(id)} ${PCI_IDS[i]}`),
  );
}

/** Compares the address ranges in vm.info with those of the guest. */
async function seesTree(vmm: TestVmm, shell: Shell): Promise<void> {
  const began = performance.now();
  const tree = await treeOf(vmm);
  assert.ok(performance.now() - began < 1000, 'vm.info waits for nothing');
  assert.deepEqual(
    Object.keys(tree).filter((id) => !id.startsWith('_virtio-pci-')),
    ['_ioapic', '_serial', ...IN_ORDER],
  );
  const seen = await shell.run('cat /proc/iomem');
  for (const id of IN_ORDER) {
    const carrier = tree[`_virtio-pci-${id}`];
    assert.equal(tree[id]?.parent, `_virtio-pci-${id}`);
    assert.deepEqual(carrier?.children, [id]);
    assert.equal(carrier.pci_bdf, slotOf(id) << 3);
    const ranges = rangesOf(carrier.resources);
    const guests = [...seen.matchAll(new RegExp(`([0-9a-f]+-[0-9a-f]+) : ${bdfOf(id)}$`, 'gm'))];
    assert.ok(ranges.length > 0, `${id} has ranges`);
    assert.deepEqual(
      ranges,
      guests.map(([, range]) => range),
      id,
    );
  }
}

/**
 * Linux puts every function of the bus into a group of its own; a device behind the
 * IOMMU has negotiated bit 33 of its features (VIRTIO_F_ACCESS_PLATFORM).
 */
async function seesIommu(shell: Shell): Promise<void> {
  const groups = await shell.run('ls -d /sys/kernel/iommu_groups/*/devices/*');
  for (const id of BEHIND) assert.ok(groups.includes(bdfOf(id)), id);
  assert.ok(!groups.includes(bdfOf('_iommu')));
  const bits = await shell.run(
    'cd /sys/bus/pci/devices; for d in *; do [ ! -e $d/virtio* ] || echo $d $(cut -c 34 $d/virtio*/features); done; cd',
  );
  const virtio = IN_ORDER.filter((id) => id !== '_watchdog');
  assert.equal(bits, virtio.map((id) => `${bdfOf(id)} ${BEHIND.includes(id) ? 1 : 0}`).join('\n'));
}

/** A file system's first queue is for urgent requests. */
async function seesQueues(shell: Shell): Promise<void> {
  assert.deepEqual(await queueSizes(shell, bdfOf('my, fs')), [512, 512]);
  assert.deepEqual(await queueSizes(shell, bdfOf('_disk0')), [64, 64]);
  assert.deepEqual(await queueSizes(shell, bdfOf('_disk1')), [128]);
}

async function seesDisks(shell: Shell): Promise<void> {
  await shell.run('until [ -b /dev/vdc ]; do :; done');
  assert.equal(
    await shell.run('cat /sys/block/vd?/size | tr "\\n" " "'),
    [8, 12, 16]
      .map((mib) => `${(mib * MIB) / 512} `)
      .join('')
      .trimEnd(),
  );
  assert.equal(
    await shell.run('for d in a b c; do head -c 9 /dev/vd$d; done'),
    'image firimage serimage thi',
  );
  assert.equal(
    await shell.run('ls /sys/block/vdb/mq | wc -l; cat /sys/block/vdb/queue/nr_requests'),
    '2\n64',
  );
  // disks behind the IOMMU, and others
  for (const d of ['a', 'b', 'c']) {
    assert.equal(
      await shell.run(
        `echo written-${d} | dd of=/dev/vd${d} seek=8 conv=fsync 2>/dev/null; dd if=/dev/vd${d} skip=8 count=1 iflag=direct 2>/dev/null | head -c 9`,
      ),
      `written-${d}`,
    );
  }
  await shell.run('echo written-p | dd of=/dev/pmem0 conv=fsync 2>/dev/null');
}

/** The user-mode network works behind the IOMMU. */
async function seesNetwork(shell: Shell): Promise<void> {
  assert.match(
    await shell.run('ifconfig eth0 up; udhcpc -i eth0 -n -q -s /bin/true 2>&1'),
    /lease of \S+ obtained/,
  );
}

async function seesFolder(shell: Shell, shared: string): Promise<void> {
  assert.equal(await shell.run('mount -t virtiofs "my, tag" /mnt && cat /mnt/from-host'), 'of the host');
  await shell.run('echo of the guest >/mnt/from-guest; sync');
  assert.equal(readFileSync(join(shared, 'from-guest'), 'utf8'), 'of the guest\n');
}

async function addsAndRemovesFolder(vmm: TestVmm, shell: Shell): Promise<void> {
  const [socket, folder] = [join(vmm.folder, 'more.sock'), join(vmm.folder, 'more')];
  mkdirSync(folder);
  writeFileSync(join(folder, 'file'), 'more');
  await using backend = startFsBackend(socket, folder);
  const added = await vmm.put('vm.add-fs', { tag: 'more', socket });
  assertStatus(added, 200);
  assert.deepEqual(added.json, { id: '_fs4', bdf: '0000:00:0c.0' });
  await shell.run('mkdir /tmp/more; until mount -t virtiofs more /tmp/more 2>/dev/null; do :; done');
  assert.equal(await shell.run('cat /tmp/more/file; umount /tmp/more'), 'more');
  assertStatus(await vmm.put('vm.remove-device', { id: '_fs4' }), 204);
  await until('it is removed', async () => !('_fs4' in (await treeOf(vmm))));
  // it serves one client, and exits with it
  await backend.ended;
}

/** The back-end exits when it receives the third queue: before or after QEMU has added the device. */
async function addsTooManyQueues(vmm: TestVmm, shell: Shell): Promise<void> {
  const [socket, folder] = [join(vmm.folder, 'queues.sock'), join(vmm.folder, 'more')];
  await using _more = startFsBackend(socket, folder);
  const { status, json } = await vmm.put('vm.add-fs', { tag: 'more', socket, num_queues: 2 });
  if (status === 500) return assert.match(JSON.stringify(json), /virtqueue 2/);
  assert.equal(status, 200);
  await until('the guest has it', async () => (await queueSizes(shell, '0000:00:0c.0')).length === 3);
}

test('devices that the host does not have are refused at boot, by name', async (t) => {
  await using vmm = await startVmm();
  const none = join(vmm.folder, `${AWKWARD}.sock`);
  const memory = { size: 512 * MIB, shared: true };
  assertStatus(await vmm.get('vmm.ping'), 200);
  const open = descriptorsOf(vmm.pid);
  const fails = (more: Readonly<Record<string, unknown>>, reason: string): Promise<void> =>
    t.test(reason.replaceAll(vmm.folder, ''), async () => {
      await deleteVm(vmm);
      assertStatus(await vmm.put('vm.create', guestConfig({ memory, ...more })), 204);
      const answer = await vmm.put('vm.boot');
      assertStatus(answer, 500);
      assert.deepEqual(answer.json, ['vm.boot failed', reason]);
      assertStatus(await vmm.put('vm.delete'), 204);
      // the connection of an answered request may be open a moment longer
      await until('no file descriptor is left', () => descriptorsOf(vmm.pid).length <= open.length);
    });
  const bridge = '/sys/devices/none, "é"';
  await fails({ devices: [{ path: bridge }] }, `device _vfio0: ${bridge}: no such file or directory`);
  await fails(
    { devices: [{ path: '/sys/class/net/lo' }] },
    'device _vfio0: /sys/class/net/lo: is no PCI device in sysfs',
  );
  const file = image(vmm, 'no socket', 1);
  await fails({ fs: [{ tag: 't', socket: file }] }, `fs _fs0: ${file}: is not a socket`);

  await t.test('vm.shutdown ends the wait for a back-end', () => endsWait(vmm, none));
  await t.test('SIGTERM ends the wait for a back-end, with exit code 0', async () => {
    void vmm.put('vm.boot').catch(() => undefined);
    vmm.kill('SIGTERM');
    assert.equal(await vmm.exited, 0);
  });
});

async function endsWait(vmm: TestVmm, none: string): Promise<void> {
  await deleteVm(vmm);
  const memory = { size: 512 * MIB, shared: true };
  assertStatus(
    await vmm.put('vm.create', guestConfig({ memory, disks: [{ vhost_user: true, vhost_socket: none }] })),
    204,
  );
  const from = vmm.output().length;
  const booting = vmm.put('vm.boot');
  // the requests are on two connections, which may be read in any order
  await until('the boot is under way', () => vmm.output().slice(from).includes('vm.boot'));
  await vmm.put('vm.shutdown');
  const answer = await booting;
  assertStatus(answer, 500);
  assert.deepEqual(answer.json, [
    'vm.boot failed',
    `disk _disk0: ${none}: no such socket; the wait for it was ended`,
  ]);
  assert.equal(await stateOf(vmm), 'Created');
}
