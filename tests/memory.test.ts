// The layout of the guest's memory, seen from inside the guest and in the host's /proc and files.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot, deleteVm } from './support/boot.ts';
import { hasNodeRam, nodeRam } from './support/guest-ram.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { type Mapping, mappingsOf, qemuOf } from './support/processes.ts';
import type { Shell } from './support/shell.ts';
import { actualSizeOf, infoOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
/** Text of a file of each NUMA node of the guest. */
async function ofNodes(shell: Shell, file: string): Promise<string[]> {
  const text = await shell.run(
    `for f in /sys/devices/system/node/node*/${file}; do echo "<$(cat $f)>"; done`,
  );
  return text.split('\n').map((line) => line.replace(/[<>]/g, ''));
}

/** The only mapping of QEMU of a size, whose first line matches. */
function mappingOf(vmm: TestVmm, bytes: number, line: RegExp): Mapping {
  const found = mappingsOf(qemuOf(vmm.pid)).filter((one) => one.bytes === bytes && line.test(one.line));
  const [mapping] = found;
  assert.ok(mapping !== undefined && found.length === 1, `${found.length} mappings of ${bytes} bytes`);
  return mapping;
}

const pmemFile = (vmm: TestVmm, name: string, text: string): string =>
  makeImage(join(vmm.folder, name), 8 * MIB, text);

/** Lines of /proc/<pid>/numa_maps or maps of QEMU that match. */
function mappings(vmm: TestVmm, table: 'numa_maps' | 'maps', pattern: RegExp): string[] {
  const lines = readFileSync(`/proc/${qemuOf(vmm.pid)}/${table}`, 'utf8').split('\n');
  return lines.filter((line) => pattern.test(line));
}

test('memory zones, NUMA nodes and pmem devices', async (t) => {
  await using vmm = await startVmm();
  const file = join(vmm.folder, 'a zone, "share=off" Ω');
  makeImage(file, 96 * MIB);
  const zones = [
    { id: 'main', size: 384 * MIB, host_numa_node: 0 },
    { id: 'in, a file', size: 96 * MIB, file, shared: true },
    { id: 'nameless', size: 64 * MIB, file: vmm.folder },
  ];
  const numa = [
    { guest_numa_id: 0, cpus: [0, 2], memory_zones: ['main'], distances: [{ destination: 3, distance: 15 }] },
    {
      guest_numa_id: 3,
      cpus: [1],
      memory_zones: ['in, a file'],
      distances: [
        { destination: 0, distance: 25 },
        { destination: 5, distance: 30 },
      ],
    },
    { guest_numa_id: 5, memory_zones: ['nameless'] },
  ];
  const kept = pmemFile(vmm, 'pmem, "discard_writes=on" Ω', 'of the host');
  using shell = await boot(vmm, {
    cpus: { boot_vcpus: 4, max_vcpus: 5 },
    memory: { size: 0, zones },
    numa,
    pmem: [
      { file: kept },
      { file: vmm.folder, size: 6 * MIB },
      { file: kept, size: 4 * MIB, discard_writes: true, mergeable: true, id: 'my pmem' },
    ],
  });
  await t.test('each NUMA node has the RAM of its zones', async () => {
    await hasNodeRam(shell, [384, 96, 64]);
  });
  await t.test('vCPUs are in their nodes, and unlisted ones in the first', async () => {
    // vCPU 3 is in no node's list: it belongs to the first node
    assert.deepEqual(await ofNodes(shell, 'cpulist'), ['0,2-3', '1', '']);
  });
  await t.test('distances between nodes are as configured, or the default', async () => {
    assert.deepEqual(await ofNodes(shell, 'distance'), ['10 15 20', '25 10 30', '20 20 10']);
  });
  await t.test('host_numa_node binds the memory of a zone', () => {
    assert.equal(mappings(vmm, 'numa_maps', /^\S+ bind(:0|=static:0) .*memfd/).length, 1);
  });
  await t.test('a zone in a shared file is a shared mapping', () => {
    assert.equal(mappings(vmm, 'maps', /rw-s .*\/a zone, "share=off"/).length, 1);
  });
  await t.test('a zone in a folder is a private mapping of a deleted file', () => {
    assert.equal(mappings(vmm, 'maps', /rw-p .*\/vmm-.*\(deleted\)$/).length, 1);
  });
  await t.test('guest writes to a zone in a shared file are in the file', () => {
    assert.ok(readFileSync(file).some((byte) => byte !== 0));
  });
  const info = await infoOf(vmm);
  await t.test('memory_actual_size is the RAM of all zones', () => {
    assert.equal(info.memory_actual_size, 544 * MIB);
  });

  await shell.run('modprobe nd_pmem');
  await t.test('pmem devices have the size of their file, or pmem.size', async () => {
    const sizes = await shell.run('cat /sys/block/pmem0/size /sys/block/pmem1/size /sys/block/pmem2/size');
    assert.deepEqual(
      sizes.split('\n').map((sectors) => (Number(sectors) * 512) / MIB),
      [8, 6, 4],
    );
  });
  await t.test('vm.info shows ids and sizes of pmem devices', () => {
    assert.deepEqual(
      info.config.pmem?.map(({ id, size }) => [id, size]),
      [
        ['_pmem0', undefined],
        ['_pmem1', 6 * MIB],
        ['my pmem', 4 * MIB],
      ],
    );
  });
  await t.test('pmem devices have the contents of their file', async () => {
    assert.equal(await shell.run('head -c 11 /dev/pmem0; head -c 11 /dev/pmem2'), 'of the hostof the host');
  });
  const write = (text: string, to: string) =>
    `echo ${text} | dd of=${to} bs=4096 seek=512 conv=sync,fsync 2>/dev/null`;
  const read = (from: string) => `dd if=${from} bs=4096 skip=512 count=1 2>/dev/null | head -n 1`;
  await t.test('writes to pmem are kept in the guest, also those that no file keeps', async () => {
    await shell.run(`${write('discarded', '/dev/pmem2')}; ${write('nameless', '/dev/pmem1')}`);
    await shell.run('echo 3 >/proc/sys/vm/drop_caches');
    assert.equal(await shell.run(read('/dev/pmem2')), 'discarded');
    assert.equal(await shell.run(read('/dev/pmem1')), 'nameless');
  });
  await t.test('mergeable pmem is offered to KSM', () => {
    assert.match(mappingOf(vmm, 4 * MIB, /rw-p .*\/pmem, /).flags, /\bmg\b/);
  });
  await shell.run(write('persistent', '/dev/pmem0'));
  assertStatus(await vmm.put('vm.delete'), 204);
  await t.test('writes to pmem are in its file after vm.delete', () => {
    const end = readFileSync(kept).toString('latin1', 2 * MIB, 2 * MIB + 10);
    assert.equal(end, 'persistent');
  });
  await t.test('vm.delete leaves no file beside those of the test', () => {
    assert.deepEqual(readdirSync(vmm.folder).toSorted(), [
      'a zone, "share=off" Ω',
      'api.sock',
      'pmem, "discard_writes=on" Ω',
    ]);
  });
});

test('virtio-mem zones, and a balloon that deflates when the guest is out of memory', async (t) => {
  await using vmm = await startVmm();
  const zones = [
    { id: 'fixed', size: 192 * MIB, mergeable: true },
    { id: 'first', size: 64 * MIB, hotplug_size: 256 * MIB, hotplugged_size: 128 * MIB, host_numa_node: 0 },
    { id: 'second', size: 32 * MIB, shared: true, hotplug_size: 128 * MIB },
  ];
  using shell = await boot(vmm, {
    memory: { size: 0, hotplug_method: 'VirtioMem', zones },
    numa: [{ memory_zones: ['fixed'] }, { guest_numa_id: 1, memory_zones: ['first', 'second'] }],
    balloon: { size: 224 * MIB, deflate_on_oom: true },
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
    console: { mode: 'Null' },
    disks: [{ path: pmemFile(vmm, 'disk', '') }],
  });
  // node 1 has 64 MiB, and 128 MiB of hot-pluggable RAM; RAM with another backing is a node of its own
  await t.test('each node has the RAM of its zones, with what is hot-plugged at boot', async () => {
    await until('the blocks are online', async () => ((await nodeRam(shell))[1] ?? 0) > 96, shell.shown);
    await hasNodeRam(shell, [undefined, 192, 32]);
  });
  const { config, device_tree: tree } = await infoOf(vmm);
  // console, disk, rng, then both virtio-mem devices, then the balloon
  await t.test('virtio-mem devices are in the slots after rng and before the balloon', () => {
    const slots = ['_rng', '_mem1', '_mem2', '_balloon'].map((id) => tree?.[`_virtio-pci-${id}`]?.pci_bdf);
    assert.deepEqual(slots, [4 << 3, 5 << 3, 6 << 3, 7 << 3]);
  });
  await t.test('vm.info shows hotplugged_size of the zone', () => {
    assert.deepEqual(config.memory.zones?.[1]?.hotplugged_size, 128 * MIB);
  });
  await t.test('a mergeable zone is offered to KSM', () => {
    assert.match(mappingOf(vmm, 192 * MIB, /rw-p 00000000 00:00 0/).flags, /\bmg\b/);
  });
  await t.test('host_numa_node binds both parts of a zone that grows', () => {
    // the zone's RAM at boot, and the RAM that it can grow by
    assert.equal(mappings(vmm, 'numa_maps', /^\S+ bind(:0|=static:0) .*memfd/).length, 2);
  });

  const all = (192 + 64 + 128 + 32) * MIB;
  const actual = () => actualSizeOf(vmm);
  await t.test('the balloon takes its size from memory_actual_size', async () => {
    await until('the balloon is full', async () => (await actual()) === all - 224 * MIB, shell.shown);
  });
  await t.test('the balloon deflates when the guest is out of memory', async () => {
    await shell.run(
      'mount -o remount,size=90% /dev/shm; dd if=/dev/zero of=/dev/shm/x bs=1M count=80 2>/dev/null',
    );
    await until('the guest takes RAM back', async () => (await actual()) > all - 224 * MIB, shell.shown);
    assert.ok((await actual()) <= all);
  });
});

test('memory that the host does not have is refused at boot, by its name', async (t) => {
  await using vmm = await startVmm();
  const missing = join(vmm.folder, 'no such, file');
  const short = pmemFile(vmm, 'short', '');
  truncateSync(short, 3 * MIB);
  const zone = (more: object) => ({
    memory: { size: 0, zones: [{ id: 'my, zone', size: 64 * MIB, ...more }] },
  });
  const before = readdirSync(vmm.folder);
  const refused: readonly (readonly [object, string])[] = [
    [zone({ file: missing }), `memory zone my, zone: ${missing}: no such file or directory`],
    [zone({ file: short }), `memory zone my, zone: ${short}: has ${3 * MIB} bytes, ${64 * MIB} are needed`],
    [zone({ file: '/dev/null' }), 'memory zone my, zone: /dev/null: is neither a file nor a directory'],
    [zone({ host_numa_node: 120 }), 'memory zone my, zone: the host has no NUMA node 120'],
    [{ pmem: [{ file: missing }] }, `pmem _pmem0: ${missing}: no such file or directory`],
    [{ pmem: [{ file: missing, size: 2 * MIB }] }, `pmem _pmem0: ${missing}: no such file or directory`],
    [{ pmem: [{ file: vmm.folder, id: 'p' }] }, `pmem p: ${vmm.folder}: a folder needs a size`],
    [
      { pmem: [{ file: '/dev/null' }] },
      'pmem _pmem0: /dev/null: is neither a file, a folder nor a block device',
    ],
    [
      { pmem: [{ file: short }] },
      `pmem _pmem0: ${short}: has ${3 * MIB} bytes: without a size its length must be a multiple of 2 MiB above 0`,
    ],
    [
      { pmem: [{ file: short, size: 4 * MIB }] },
      `pmem _pmem0: ${short}: has ${3 * MIB} bytes, ${4 * MIB} are asked for`,
    ],
  ];
  for (const [more, message] of refused) {
    await deleteVm(vmm);
    await t.test(message.replaceAll(vmm.folder, '').slice(0, 85), async () => {
      assertStatus(await vmm.put('vm.create', guestConfig({ ...more })), 204);
      const answer = await vmm.put('vm.boot');
      assertStatus(answer, 500);
      assert.deepEqual(answer.json, ['vm.boot failed', message]);
      assertStatus(await vmm.put('vm.delete'), 204);
    });
  }
  await t.test('no file is left', () => {
    assert.deepEqual(readdirSync(vmm.folder), before);
  });
});

// no machine of this project has SGX: QEMU's arguments are tested in src/plan/machine-plan.test.ts
test('without SGX on the host an SGX section is refused at boot, naming what is missing', async () => {
  await using vmm = await startVmm();
  assert.equal(existsSync('/dev/sgx_vepc'), false);
  const sgx = [{ id: 'epc, 0', size: 64 * MIB }];
  assertStatus(
    await vmm.put('vm.create', guestConfig({ sgx_epc: sgx, numa: [{ sgx_epc_sections: ['epc, 0'] }] })),
    204,
  );
  const answer = await vmm.put('vm.boot');
  assertRefused(
    answer,
    500,
    /sgx_epc epc, 0: \/dev\/sgx_vepc: no such file.*\/dev\/sgx_provision: no such file/,
  );
});
