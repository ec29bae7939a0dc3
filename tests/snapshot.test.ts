// Snapshots and clones, observed in the guest and on the host.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { VmConfigInput } from '../src/config/vm-config.ts';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { allocatedBytes, createImage, makeImage } from './support/images.ts';
import { childrenOf, qemuOf } from './support/processes.ts';
import { openShell, type Shell } from './support/shell.ts';
import { editConfig, SNAPSHOT_FILES, takeSnapshot } from './support/snapshots.ts';
import { infoOf, ptyOf, stateOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
/** Folder of the snapshot that all tests restore. */
const HOME = makeFolder();
const FIRST = join(HOME, 'gén, "1"');

/** A guest with random data in a tmpfs, of which {@link FIRST} is a snapshot. */
interface Source {
  readonly vmm: TestVmm;
  readonly shell: Shell;
  /** checksum of /m/one in the guest */
  readonly sum: string;
  readonly files: readonly Buffer[];
}

let source: Source | undefined;

before(async () => {
  const vmm = await startVmm();
  const disk = makeImage(join(HOME, 'a, "b" é.raw'), 8 * MIB, 'the disk');
  const shell = await boot(vmm, {
    disks: [{ path: disk, readonly: true }],
    cpus: { boot_vcpus: 1, max_vcpus: 2 },
    memory: { size: 512 * MIB, hotplug_size: 512 * MIB },
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
  });
  await shell.run('mkdir /m; mount -t tmpfs m /m; head -c 3000000 /dev/urandom > /m/one');
  const sum = await sumOf(shell, 'one');
  await takeSnapshot(vmm, FIRST);
  assertStatus(await vmm.put('vm.resume'), 204);
  source = { vmm, shell, sum, files: contentsOf(FIRST) };
});

after(async () => {
  source?.shell[Symbol.dispose]();
  await source?.vmm[Symbol.asyncDispose]();
  rmSync(HOME, { recursive: true, force: true });
});

function sourceGuest(): Source {
  assert.ok(source !== undefined);
  return source;
}

const sumOf = (guest: Shell, name: string): Promise<string> => guest.run(`md5sum < /m/${name}`);
const contentsOf = (folder: string): Buffer[] =>
  SNAPSHOT_FILES.map((name) => readFileSync(join(folder, name)));

/** Restores a snapshot paused, and resumes it: the guest's shell continues. */
async function restoreAndResume(vmm: TestVmm, folder: string, overrides: object = {}): Promise<Shell> {
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${folder}`, overrides }), 204);
  assert.equal(await stateOf(vmm), 'Paused');
  assertStatus(await vmm.put('vm.resume'), 204);
  return openShell(await ptyOf(vmm));
}

test('vm.snapshot', async (t) => {
  const { vmm, shell, sum, files } = sourceGuest();
  const url = `file://${FIRST}`;
  await t.test('the folder has exactly the files of a snapshot', () => {
    assert.deepEqual(readdirSync(FIRST).toSorted(), SNAPSHOT_FILES);
  });
  await t.test('memory-ranges is sparse', () => {
    assert.ok(allocatedBytes(join(FIRST, 'memory-ranges')) < 300 * MIB);
  });
  await t.test('the guest runs on with its memory after vm.resume', async () => {
    assert.equal(await sumOf(shell, 'one'), sum);
  });
  await t.test('a running VM is refused with 405', async () => {
    assertStatus(await vmm.put('vm.snapshot', { destination_url: url }), 405);
  });
  await t.test('vm.restore is refused with 404 where there is a VM', async () => {
    assertStatus(await vmm.put('vm.restore', { source_url: url }), 404);
  });
  assertStatus(await vmm.put('vm.pause'), 204);
  await t.test('URLs of other forms are refused with 400', async () => {
    for (const bad of [FIRST, 'file://relative', 'tcp://host'])
      assertStatus(await vmm.put('vm.snapshot', { destination_url: bad }), 400);
  });
  await t.test('a folder that does not exist is refused with 500', async () => {
    assertStatus(await vmm.put('vm.snapshot', { destination_url: `${url}/none` }), 500);
  });
  await t.test('an occupied folder is refused with 500, and is unchanged', async () => {
    assertStatus(await vmm.put('vm.snapshot', { destination_url: url }), 500);
    assert.deepEqual(contentsOf(FIRST), files);
  });
  assertStatus(await vmm.put('vm.resume'), 204);
});

test('a clone in another VMM, and a clone of the clone', async (t) => {
  const { sum: one, files } = sourceGuest();
  await using clone = await startVmm();
  using restored = await restoreAndResume(clone, FIRST);
  await t.test('guest memory is restored', async () => assert.equal(await sumOf(restored, 'one'), one));
  await t.test('the disk and the rng device work', async () => {
    assert.equal(await restored.run('head -c 8 /dev/vda'), 'the disk');
    assert.equal(await restored.run('head -c 8 /dev/hwrng | wc -c'), '8');
  });
  await t.test('RAM is hot-plugged', async () => {
    // this guest ignores the vCPU until its next boot: docs/compatibility.md
    assertStatus(await clone.put('vm.resize', { desired_vcpus: 2, desired_ram: 768 * MIB }), 204);
    await restored.run('until read _ kib _ </proc/meminfo; [ $kib -gt 600000 ]; do :; done');
  });
  await t.test('a disk is hot-plugged', async () => {
    const added = makeImage(join(clone.folder, 'added.raw'), 4 * MIB, 'added later');
    assertStatus(await clone.put('vm.add-disk', { path: added, id: 'later' }), 200);
    await restored.run('until [ -b /dev/vdb ]; do :; done; head -c 2000000 /dev/urandom > /m/two');
  });
  const two = await sumOf(restored, 'two');
  const second = await takeSnapshot(clone, join(clone.folder, 'second'));
  await t.test('a second snapshot leaves the first as it is', () => {
    assert.deepEqual(readdirSync(second).toSorted(), SNAPSHOT_FILES);
    assert.deepEqual(contentsOf(FIRST), files);
  });
  assertStatus(await clone.put('vm.delete'), 204);

  const request = { source_url: `file://${second}`, resume: true, prefault: true };
  assertStatus(await clone.put('vm.restore', request), 204);
  using third = openShell(await ptyOf(clone));
  await t.test('a clone of the clone has the memory of both', async () => {
    assert.equal(await sumOf(third, 'one'), one);
    assert.equal(await sumOf(third, 'two'), two);
  });
  await t.test('a clone of the clone has the hot-plugged RAM, and can get more', async () => {
    assert.equal(await third.run('read _ kib _ </proc/meminfo; [ $kib -gt 600000 ]; echo $?'), '0');
    assertStatus(await clone.put('vm.resize', { desired_ram: 896 * MIB }), 204);
    await third.run('until read _ kib _ </proc/meminfo; [ $kib -gt 730000 ]; do :; done');
  });
  await t.test('a clone of the clone has the hot-plugged disk, which can be removed', async () => {
    assert.equal(await third.run('head -c 11 /dev/vdb'), 'added later');
    assertStatus(await clone.put('vm.remove-device', { id: 'later' }), 204);
    await third.run('while [ -b /dev/vdb ]; do :; done');
  });
  await t.test('a reboot starts a machine with the vCPUs of the last resize', async () => {
    assertStatus(await clone.put('vm.reboot'), 204);
    await third.login();
    assert.equal(await third.run('nproc'), '2');
  });
});

/** A copy as clients make it: RAM is linked, other files are copied, the configuration is edited. */
function copyOf(name: string, edit: (config: VmConfigInput) => object = (config) => config): string {
  const path = join(HOME, name);
  mkdirSync(path);
  linkSync(join(FIRST, 'memory-ranges'), join(path, 'memory-ranges'));
  for (const file of ['state.json', 'manifest.json', 'config.json'])
    copyFileSync(join(FIRST, file), join(path, file));
  editConfig(path, edit);
  return path;
}

/** Replaces members of the only disk of a configuration. */
const withDisk =
  (members: object) =>
  (config: VmConfigInput): object => ({ ...config, disks: [{ ...config.disks?.[0], ...members }] });

test('snapshots that are incomplete or of another machine are refused', async (t) => {
  await using vmm = await startVmm();
  const inCopy = (name: string, damage: (folder: string) => void): string => {
    const path = copyOf(name);
    damage(path);
    return path;
  };
  const cutMemory = (folder: string): void => {
    unlinkSync(join(folder, 'memory-ranges'));
    writeFileSync(join(folder, 'memory-ranges'), 'short');
  };
  const refused: readonly (readonly [what: string, folder: string, reason: RegExp])[] = [
    [
      'without a manifest',
      inCopy('no-manifest', (folder) => unlinkSync(join(folder, 'manifest.json'))),
      /no manifest: it was never finished/,
    ],
    [
      'with a truncated manifest',
      inCopy('cut-manifest', (folder) => truncateSync(join(folder, 'manifest.json'), 100)),
      /not a snapshot's manifest/,
    ],
    [
      'with a changed state',
      inCopy('state', (folder) => appendFileSync(join(folder, 'state.json'), ' ')),
      /checksum differs/,
    ],
    [
      'without a state',
      inCopy('no-state', (folder) => unlinkSync(join(folder, 'state.json'))),
      /state\.json: no such file/,
    ],
    ['with truncated RAM', inCopy('memory', cutMemory), /memory-ranges: is not what was written/],
    [
      'with more vCPUs',
      copyOf('vcpus', (config) => ({ ...config, cpus: { ...config.cpus, max_vcpus: 3 } })),
      /cpus\.max_vcpus: was 2, is 3/,
    ],
    ['with other queues', copyOf('queues', withDisk({ queue_size: 64 })), /disks\[0\]\.queue_size/],
    [
      'with a further disk',
      copyOf('disks', ({ disks, ...rest }) => ({
        ...rest,
        disks: [...(disks ?? []), { path: '/x', id: 'x' }],
      })),
      /disks\[1\]: was not there/,
    ],
    [
      'without the image of a disk',
      copyOf('image', withDisk({ path: '/no, such' })),
      /disk _disk0: \/no, such: no such file/,
    ],
  ];
  for (const [what, folder, reason] of refused) {
    await t.test(what, async () => {
      assertRefused(await vmm.put('vm.restore', { source_url: `file://${folder}` }), 500, reason);
      assertStatus(await vmm.get('vm.info'), 404);
    });
  }
  await t.test('an override of an unknown device is refused with 404', async () => {
    const overrides = { disks: [{ id: 'none', path: '/x' }] };
    assertStatus(await vmm.put('vm.restore', { source_url: `file://${FIRST}`, overrides }), 404);
  });
  await t.test('a request without source_url is refused with 400', async () => {
    assertStatus(await vmm.put('vm.restore', {}), 400);
  });
  await t.test('no process is left, and a VM can be created', async () => {
    assert.deepEqual(childrenOf(vmm.pid), []);
    assertStatus(await vmm.put('vm.create', guestConfig()), 204);
  });
});

test('config.json of a copy gives a clone another console and shared RAM', async () => {
  const log = join(HOME, 'console "é", log');
  const edited = copyOf('edited', (config) => ({
    ...config,
    serial: { mode: 'File', file: log },
    memory: { ...config.memory, shared: true },
  }));
  await using vmm = await startVmm();
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${edited}`, resume: true }), 204);
  assert.match(readFileSync(`/proc/${qemuOf(vmm.pid)}/maps`, 'latin1'), /memfd:memory-backend-memfd/);
  assert.equal((await infoOf(vmm)).config.serial.file, log);
});

test('--restore starts a clone', async () => {
  const plain = copyOf('a, b');
  await using vmm = await startVmm({ args: ['--restore', `source_url="file://${plain}",resume=on`] });
  await until('the VM runs', async () => (await stateOf(vmm)) === 'Running', vmm.output);
  using shell = openShell(await ptyOf(vmm));
  assert.equal(await shell.run('head -c 8 /dev/vda'), 'the disk');
});

test('an override gives a clone another disk, and its RAM is a private mapping of the snapshot', async () => {
  const image = makeImage(join(HOME, 'other, disk.raw'), 8 * MIB, 'another disk');
  await using vmm = await startVmm();
  using shell = await restoreAndResume(vmm, FIRST, { disks: [{ id: '_disk0', path: image }] });
  assert.equal(await shell.run('head -c 12 /dev/vda'), 'another disk');
  assert.match(readFileSync(`/proc/${qemuOf(vmm.pid)}/maps`, 'latin1'), /rw-p .*memory-ranges/);
});

const write = (text: string, to: string): string =>
  `echo ${text} | dd of=/dev/${to} bs=4096 seek=512 conv=sync,fsync 2>/dev/null`;
const read = (from: string): string => `dd if=/dev/${from} bs=4096 skip=512 count=1 2>/dev/null | head -n 1`;

test('a guest with zones, virtio-mem, NUMA nodes, pmem and hot-plugged disks, cloned twice', async (t) => {
  await using vmm = await startVmm();
  const image = createImage(join(vmm.folder, 'q.qcow2'), '16M', ['-f', 'qcow2']);
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
  makeImage(added, 4 * MIB, 'added');
  for (const id of ['x', 'y']) {
    copyFileSync(added, `${added}.${id}`);
    assertStatus(await vmm.put('vm.add-disk', { path: `${added}.${id}`, id }), 200);
  }
  await shell.run('until [ -b /dev/vdc ]; do :; done');
  assertStatus(await vmm.put('vm.remove-device', { id: 'x' }), 204);
  await shell.run('while [ -b /dev/vdb ]; do :; done');
  const total =
    'until read _ kib _ </proc/meminfo; [ $kib -gt 520000 ]; do :; done; grep MemTotal /proc/meminfo';
  const memTotal = await shell.run(total);
  // the file has pages of each zone
  await shell.run(
    'mkdir /m; mount -t tmpfs -o mpol=interleave:0-2 m /m; head -c 4000000 /dev/urandom > /m/1',
  );
  await shell.run('for i in $(seq 15); do cat /m/1; done > /m/x; echo on disk > /dev/vda; sync');
  const sum = await shell.run('md5sum < /m/x');
  await shell.run('modprobe -a virtio_pmem nd_pmem; until [ -b /dev/pmem2 ]; do :; done');
  // more flushes than the queue of the device has descriptors; the last block of each is all zero
  await shell.run(
    `for i in $(seq 150); do ${write('first', 'pmem0')}; done; ${write('nameless', 'pmem1')}; ${write('discarded', 'pmem2')}`,
  );
  await shell.run('for i in 0 2; do dd if=/dev/zero of=/dev/pmem$i bs=4k seek=1023 count=1 conv=fsync; done');
  const untouched = readFileSync(persistent).subarray(1022 * 4096, 1023 * 4096);
  const end = createHash('md5').update(untouched).update(Buffer.alloc(4096)).digest('hex');
  for (const generation of ['first', 'second']) {
    const { device_tree: tree } = await infoOf(vmm);
    const path = await takeSnapshot(vmm, join(vmm.folder, generation));
    assertStatus(await vmm.put('vm.delete'), 204);
    const overrides = generation === 'first' ? {} : { console: { file: log } };
    using again = await restoreAndResume(vmm, path, overrides);
    await t.test(`${generation} clone: vm.info shows the same device tree`, async () => {
      assert.deepEqual((await infoOf(vmm)).device_tree, tree);
    });
    await t.test(`${generation} clone: guest memory is restored`, async () => {
      assert.equal(await again.run('md5sum < /m/x'), sum);
    });
    await t.test(`${generation} clone: the guest has the same RAM`, async () => {
      assert.equal(await again.run('grep MemTotal /proc/meminfo'), memTotal);
    });
    await t.test(`${generation} clone: the disks have their contents`, async () => {
      assert.equal(await again.run('head -c 7 /dev/vda; head -c 5 /dev/vdc'), 'on diskadded');
    });
    await t.test(
      `${generation} clone: pmem devices have what was written, also where no file keeps it`,
      async () => {
        assert.equal(await again.run(`${read('pmem1')}; ${read('pmem2')}`), 'nameless\ndiscarded');
        assert.equal(await again.run('dd if=/dev/pmem2 bs=4k skip=1022 2>/dev/null | md5sum'), `${end}  -`);
      },
    );
    await t.test(`${generation} clone: pmem devices can be written and flushed`, async () => {
      await again.run(
        `${write(`kept-${generation}`, 'pmem0')}; ${write('discarded', 'pmem2')}; ${write('nameless', 'pmem1')}`,
      );
      assert.equal(await again.run(read('pmem0')), `kept-${generation}`);
      assert.equal(
        readFileSync(persistent).toString('latin1', 2 * MIB, 2 * MIB + 5 + generation.length),
        `kept-${generation}`,
      );
    });
    await t.test(`${generation} clone: the virtio console works`, async () => {
      await again.run('echo over-the-console > /dev/hvc0');
      if (generation === 'first') {
        using console = openShell(await ptyOf(vmm, 'console'));
        await console.sees('over-the-console');
      } else {
        await until('it is in the file', () => readFileSync(log, 'utf8').includes('over-the-console'));
      }
    });
  }
});
