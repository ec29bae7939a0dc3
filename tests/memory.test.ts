// The layout of the guest's memory, seen from inside the guest and in the host's /proc and files.
import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guestConfig } from './support/guest.ts';
import { qemuOf } from './support/host.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { assertStatus, startVmm, type TestVmm } from './support/vmm.ts';

const MIB = 2 ** 20;
/** What the kernel keeps of a node's RAM for itself, at most. */
const KEPT = 96 * MIB;

async function boot(vmm: TestVmm, more: Readonly<Record<string, unknown>>): Promise<Shell> {
  assertStatus(await vmm.put('vm.create', guestConfig(more)), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const shell = openShell(await ptyOf(vmm));
  await shell.login();
  return shell;
}

/** MemTotal of a node of the guest, in bytes. */
async function nodeMemory(shell: Shell, node: number): Promise<number> {
  const text = await shell.run(`cat /sys/devices/system/node/node${node}/meminfo`);
  return Number(/MemTotal:\s+(\d+) kB/.exec(text)?.[1]) * 1024;
}

async function assertNodeMemory(shell: Shell, node: number, bytes: number): Promise<void> {
  const seen = await nodeMemory(shell, node);
  assert.ok(seen <= bytes && seen > bytes - KEPT, `node ${node} has ${seen / MIB} MiB of ${bytes / MIB}`);
}

/** What one file of each node of the guest says. */
async function ofNodes(shell: Shell, file: string): Promise<string[]> {
  const text = await shell.run(
    `for f in /sys/devices/system/node/node*/${file}; do echo "<$(cat $f)>"; done`,
  );
  return text.split('\n').map((line) => line.replace(/[<>]/g, ''));
}

/** The mappings of QEMU's that a pattern finds in /proc/<pid>/numa_maps or smaps. */
function mappings(vmm: TestVmm, table: 'numa_maps' | 'maps', pattern: RegExp): string[] {
  const lines = readFileSync(`/proc/${qemuOf(vmm.pid)}/${table}`, 'utf8').split('\n');
  return lines.filter((line) => pattern.test(line));
}

test('zones and NUMA nodes: RAM, vCPUs and distances of each node; files, sharing and the host’s node', async () => {
  await using vmm = await startVmm();
  const file = join(vmm.folder, 'a zone, "share=off" Ω');
  writeFileSync(file, '');
  truncateSync(file, 96 * MIB);
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
  using shell = await boot(vmm, {
    cpus: { boot_vcpus: 4, max_vcpus: 5 },
    memory: { size: 0, zones },
    numa,
  });
  await assertNodeMemory(shell, 0, 384 * MIB);
  await assertNodeMemory(shell, 1, 96 * MIB);
  await assertNodeMemory(shell, 2, 64 * MIB);
  // vCPU 3 is listed nowhere: the first node's
  assert.deepEqual(await ofNodes(shell, 'cpulist'), ['0,2-3', '1', '']);
  assert.deepEqual(await ofNodes(shell, 'distance'), ['10 15 20', '25 10 30', '20 20 10']);
  assert.equal(mappings(vmm, 'numa_maps', /^\S+ bind(:0|=static:0) .*memfd/).length, 1);
  assert.equal(mappings(vmm, 'maps', /rw-s .*\/a zone, "share=off"/).length, 1);
  assert.equal(mappings(vmm, 'maps', /rw-p .*\/vmm-.*\(deleted\)$/).length, 1);
  // what the guest writes into a shared file's zone is in the file
  assert.ok(readFileSync(file).some((byte) => byte !== 0));
  const info = (await vmm.get('vm.info')).json as { memory_actual_size: number; config: object };
  assert.equal(info.memory_actual_size, 544 * MIB);
});
