// Snapshots and the VMs that are made from them, seen in the guest and on the host.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { boot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { childrenOf, qemuOf } from './support/processes.ts';
import { infoOf } from './support/vm-info.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { until } from './support/wait.ts';
import { assertStatus, makeFolder, startVmm, type TestVmm } from './support/vmm.ts';

const MIB = 2 ** 20;
/** Where snapshots of one test are left for the next. */
const HOME = makeFolder();
after(() => rmSync(HOME, { recursive: true, force: true }));
const FIRST = join(HOME, 'gén, "1"');

const FILES = ['config.json', 'manifest.json', 'memory-ranges', 'state.json'];

function folder(vmm: TestVmm, name: string): string {
  const path = join(vmm.folder, name);
  mkdirSync(path);
  return path;
}

async function snapshot(vmm: TestVmm, path: string): Promise<void> {
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${path}` }), 204);
  assert.deepEqual(readdirSync(path).toSorted(), FILES);
}

/** Restores and resumes; the guest's shell is where it was, on a new PTY. */
async function restore(
  vmm: TestVmm,
  path: string,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Shell> {
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${path}`, ...more }), 204);
  if (more['resume'] !== true) {
    assert.equal(((await vmm.get('vm.info')).json as { state: string }).state, 'Paused');
    assertStatus(await vmm.put('vm.resume'), 204);
  }
  return openShell(await ptyOf(vmm));
}

test('a VM is saved, goes on, and lives again in another VMM, over generations', async () => {
  await using source = await startVmm();
  const disk = join(HOME, 'a, "b" é.raw');
  writeFileSync(disk, 'the disk');
  truncateSync(disk, 8 * MIB);
  using shell = await boot(source, {
    disks: [{ path: disk, readonly: true }],
    cpus: { boot_vcpus: 1, max_vcpus: 2 },
    memory: { size: 512 * MIB, hotplug_size: 512 * MIB },
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
  });
  await shell.run('mkdir /m; mount -t tmpfs m /m; head -c 3000000 /dev/urandom > /m/one');
  const sum = (guest: Shell, name: string): Promise<string> => guest.run(`md5sum < /m/${name}`);
  const one = await sum(shell, 'one');

  const first = FIRST;
  mkdirSync(first);
  const url = `file://${first}`;
  assertStatus(await source.put('vm.snapshot', { destination_url: url }), 405);
  assertStatus(await source.put('vm.pause'), 204);
  for (const bad of [first, 'file://relative', 'tcp://host']) {
    assertStatus(await source.put('vm.snapshot', { destination_url: bad }), 400);
  }
  assertStatus(await source.put('vm.snapshot', { destination_url: `${url}/none` }), 500);
  await snapshot(source, first);
  // an occupied directory is refused and stays as it is
  const before = FILES.map((name) => readFileSync(join(first, name)));
  assertStatus(await source.put('vm.snapshot', { destination_url: url }), 500);
  assert.deepEqual(
    FILES.map((name) => readFileSync(join(first, name))),
    before,
  );
  assert.ok(statSync(join(first, 'memory-ranges')).blocks * 512 < 300 * MIB, 'memory-ranges is not sparse');
  assertStatus(await source.put('vm.restore', { source_url: url }), 404);
  assertStatus(await source.put('vm.resume'), 204);
  assert.equal(await sum(shell, 'one'), one);

  await using clone = await startVmm();
  using restored = await restore(clone, first);
  assert.equal(await sum(restored, 'one'), one);
  assert.equal(await restored.run('head -c 8 /dev/vda'), 'the disk');
  assert.equal(await restored.run('head -c 8 /dev/hwrng | wc -c'), '8');
  // hot-plug works as before (this guest ignores the vCPU until it boots anew: docs/compatibility.md)
  assertStatus(await clone.put('vm.resize', { desired_vcpus: 2, desired_ram: 768 * MIB }), 204);
  await restored.run('until read _ kib _ </proc/meminfo; [ $kib -gt 600000 ]; do :; done');
  const added = join(clone.folder, 'added.raw');
  writeFileSync(added, 'added later');
  truncateSync(added, 4 * MIB);
  assertStatus(await clone.put('vm.add-disk', { path: added, id: 'later' }), 200);
  await restored.run('until [ -b /dev/vdb ]; do :; done; head -c 2000000 /dev/urandom > /m/two');
  const two = await sum(restored, 'two');

  assertStatus(await clone.put('vm.pause'), 204);
  const second = folder(clone, 'second');
  await snapshot(clone, second);
  assert.deepEqual(
    FILES.map((name) => readFileSync(join(first, name))),
    before,
    'a clone wrote into its snapshot',
  );
  assertStatus(await clone.put('vm.delete'), 204);

  // in the same VMM, from the second generation, with what the first one got while it ran
  using third = await restore(clone, second, { resume: true, prefault: true });
  assert.equal(await sum(third, 'one'), one);
  assert.equal(await sum(third, 'two'), two);
  await third
    .run('read _ kib _ </proc/meminfo; [ $kib -gt 600000 ]; echo $?')
    .then((code) => assert.equal(code, '0'));
  assertStatus(await clone.put('vm.resize', { desired_ram: 896 * MIB }), 204);
  await third.run('until read _ kib _ </proc/meminfo; [ $kib -gt 730000 ]; do :; done');
  assert.equal(await third.run('head -c 11 /dev/vdb'), 'added later');
  assertStatus(await clone.put('vm.remove-device', { id: 'later' }), 204);
  await third.run('while [ -b /dev/vdb ]; do :; done');
  // a reboot is a new machine as after any boot
  assertStatus(await clone.put('vm.reboot'), 204);
  await third.login();
  assert.equal(await third.run('nproc'), '2');
});

interface Config {
  serial: { mode: string; file?: string };
  cpus: { max_vcpus: number };
  disks: { path: string; id: string; queue_size: number }[];
}

/** A copy as clients make it: RAM is linked, the rest is copied, the configuration edited. */
function copyOf(name: string, edit: (config: Config) => void = () => undefined): string {
  const path = join(HOME, name);
  mkdirSync(path);
  linkSync(join(FIRST, 'memory-ranges'), join(path, 'memory-ranges'));
  for (const file of ['state.json', 'manifest.json']) copyFileSync(join(FIRST, file), join(path, file));
  const config = JSON.parse(readFileSync(join(FIRST, 'config.json'), 'utf8')) as Config;
  edit(config);
  writeFileSync(join(path, 'config.json'), JSON.stringify(config));
  return path;
}

test('what is no whole snapshot, or would be another machine, is refused with the reason, and nothing stays', async () => {
  await using vmm = await startVmm();
  const broken: [string, string, RegExp][] = [
    ['no manifest', copyOf('no-manifest'), /no manifest: it was never finished/],
    ['cut manifest', copyOf('cut-manifest'), /not a snapshot's manifest/],
    ['state changed', copyOf('state'), /checksum differs/],
    ['no state', copyOf('no-state'), /state\.json: no such file/],
    ['memory cut', copyOf('memory'), /memory-ranges: is not what was written/],
    ['more vCPUs', copyOf('vcpus', (config) => (config.cpus.max_vcpus = 3)), /cpus\.max_vcpus: was 2, is 3/],
    [
      'queues',
      copyOf('queues', ({ disks }) => (disks[0] = { ...disks[0], queue_size: 64 } as Config['disks'][0])),
      /disks\[0\]\.queue_size/,
    ],
    [
      'another disk',
      copyOf('disks', ({ disks }) => disks.push({ path: '/x', id: 'x', queue_size: 64 })),
      /disks\[1\]: was not there/,
    ],
    [
      'no disk image',
      copyOf('image', ({ disks }) => (disks[0] = { ...disks[0], path: '/no, such' } as Config['disks'][0])),
      /disk _disk0: \/no, such: no such file/,
    ],
  ];
  unlinkSync(join(HOME, 'no-manifest', 'manifest.json'));
  truncateSync(join(HOME, 'cut-manifest', 'manifest.json'), 100);
  appendFileSync(join(HOME, 'state', 'state.json'), ' ');
  unlinkSync(join(HOME, 'no-state', 'state.json'));
  unlinkSync(join(HOME, 'memory', 'memory-ranges'));
  writeFileSync(join(HOME, 'memory', 'memory-ranges'), 'short');
  for (const [what, path, reason] of broken) {
    const answer = await vmm.put('vm.restore', { source_url: `file://${path}` });
    assert.equal(answer.status, 500, what);
    assert.match(JSON.stringify(answer.json), reason, what);
    assertStatus(await vmm.get('vm.info'), 404);
  }
  const overrides = { disks: [{ id: 'none', path: '/x' }] };
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${FIRST}`, overrides }), 404);
  assertStatus(await vmm.put('vm.restore', {}), 400);
  assert.deepEqual(childrenOf(vmm.pid), []);
  assertStatus(await vmm.put('vm.create', guestConfig()), 204);
});

test('clones have a disk, a console and RAM of their own, from a linked and edited copy, overrides or the command line', async () => {
  const image = join(HOME, 'other, disk.raw');
  writeFileSync(image, 'another disk');
  truncateSync(image, 8 * MIB);
  const log = join(HOME, 'console "é", log');
  const edited = copyOf('edited', (config) => {
    config.serial = { mode: 'File', file: log };
    Object.assign(config, { memory: { ...(config as unknown as { memory: object }).memory, shared: true } });
  });
  await using inFile = await startVmm();
  assertStatus(await inFile.put('vm.restore', { source_url: `file://${edited}`, resume: true }), 204);
  assert.match(readFileSync(`/proc/${qemuOf(inFile.pid)}/maps`, 'latin1'), /memfd:memory-backend-memfd/);
  assert.equal(((await inFile.get('vm.info')).json as { config: Config }).config.serial.file, log);

  const plain = copyOf('a, b');
  await using byFlag = await startVmm({ args: ['--restore', `source_url="file://${plain}",resume=on`] });
  await until('it runs', async () => (await infoOf(byFlag)).state === 'Running', byFlag.output);
  using one = openShell(await ptyOf(byFlag));
  assert.equal(await one.run('head -c 8 /dev/vda'), 'the disk');

  await using other = await startVmm();
  const overrides = { disks: [{ id: '_disk0', path: image }] };
  using shell = await restore(other, FIRST, { overrides });
  assert.equal(await shell.run('head -c 12 /dev/vda'), 'another disk');
  assert.match(readFileSync(`/proc/${qemuOf(other.pid)}/maps`, 'latin1'), /rw-p .*memory-ranges/);
});

const write = (text: string, to: string): string =>
  `echo ${text} | dd of=/dev/${to} bs=4096 seek=512 conv=sync,fsync 2>/dev/null`;
const read = (from: string): string => `dd if=/dev/${from} bs=4096 skip=512 count=1 2>/dev/null | head -n 1`;

test('zones of every kind, virtio-mem, NUMA nodes, pmem and slots out of order are restored, twice', async () => {
  await using vmm = await startVmm();
  const image = join(vmm.folder, 'q.qcow2');
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', image, '16M']);
  const persistent = join(vmm.folder, 'p, "m" é.img');
  const log = join(vmm.folder, 'console, "é".log');
  writeFileSync(persistent, Buffer.alloc(8 * MIB, 'of the host '));
  using shell = await boot(vmm, {
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
    memory: {
      size: 0,
      hotplug_method: 'VirtioMem',
      zones: [
        { id: 'a', size: 256 * MIB, hotplug_size: 256 * MIB, hotplugged_size: 128 * MIB },
        { id: 'file', size: 128 * MIB, file: '/dev/shm' },
        { id: 'merged', size: 128 * MIB, mergeable: true },
      ],
    },
    numa: [{ guest_numa_id: 0, cpus: [0], memory_zones: ['a', 'file', 'merged'] }],
    disks: [{ path: image }],
    pmem: [
      { file: persistent },
      { file: vmm.folder, size: 6 * MIB },
      { file: persistent, size: 4 * MIB, discard_writes: true },
    ],
    console: { mode: 'Pty' },
  });
  const added = join(vmm.folder, 'added.raw');
  writeFileSync(added, 'added');
  truncateSync(added, 4 * MIB);
  for (const id of ['x', 'y']) {
    copyFileSync(added, `${added}.${id}`);
    assertStatus(await vmm.put('vm.add-disk', { path: `${added}.${id}`, id }), 200);
  }
  await shell.run('until [ -b /dev/vdc ]; do :; done');
  assertStatus(await vmm.put('vm.remove-device', { id: 'x' }), 204);
  await shell.run('while [ -b /dev/vdb ]; do :; done');
  const total =
    'until read _ kib _ </proc/meminfo; [ $kib -gt 520000 ]; do :; done; grep MemTotal /proc/meminfo';
  const before = await shell.run(total);
  // some of it is in each
  await shell.run(
    'mkdir /m; mount -t tmpfs -o mpol=interleave:0-2 m /m; head -c 4000000 /dev/urandom > /m/1',
  );
  await shell.run('for i in $(seq 15); do cat /m/1; done > /m/x; echo on disk > /dev/vda; sync');
  const sum = await shell.run('md5sum < /m/x');
  await shell.run('modprobe -a virtio_pmem nd_pmem; until [ -b /dev/pmem2 ]; do :; done');
  // more flushes than the device's queue has places; the last block of each is all zero
  await shell.run(
    `for i in $(seq 150); do ${write('first', 'pmem0')}; done; ${write('nameless', 'pmem1')}; ${write('discarded', 'pmem2')}`,
  );
  await shell.run('for i in 0 2; do dd if=/dev/zero of=/dev/pmem$i bs=4k seek=1023 count=1 conv=fsync; done');
  const untouched = readFileSync(persistent).subarray(1022 * 4096, 1023 * 4096);
  const end = createHash('md5').update(untouched).update(Buffer.alloc(4096)).digest('hex');
  for (const generation of ['1', '2']) {
    const path = folder(vmm, generation);
    assertStatus(await vmm.put('vm.pause'), 204);
    const { device_tree: tree } = await infoOf(vmm);
    await snapshot(vmm, path);
    assertStatus(await vmm.put('vm.delete'), 204);
    const overrides = generation === '1' ? {} : { console: { file: log } };
    using again = await restore(vmm, path, { overrides });
    assert.deepEqual((await infoOf(vmm)).device_tree, tree);
    assert.equal(await again.run('md5sum < /m/x'), sum);
    assert.equal(await again.run('grep MemTotal /proc/meminfo'), before);
    assert.equal(await again.run('head -c 7 /dev/vda; head -c 5 /dev/vdc'), 'on diskadded');
    assert.equal(await again.run(`${read('pmem1')}; ${read('pmem2')}`), 'nameless\ndiscarded');
    assert.equal(await again.run('dd if=/dev/pmem2 bs=4k skip=1022 2>/dev/null | md5sum'), `${end}  -`);
    // a flush ends
    await again.run(
      `${write(`kept-${generation}`, 'pmem0')}; ${write('discarded', 'pmem2')}; ${write('nameless', 'pmem1')}`,
    );
    assert.equal(await again.run(read('pmem0')), `kept-${generation}`);
    assert.equal(readFileSync(persistent).toString('latin1', 2 * MIB, 2 * MIB + 6), `kept-${generation}`);
    await again.run('echo over-the-console > /dev/hvc0');
    if (generation === '1') {
      using console = openShell(await ptyOf(vmm, 'console'));
      await console.sees('over-the-console');
    } else {
      await until('it is in the file', () => readFileSync(log, 'utf8').includes('over-the-console'));
    }
  }
});
