/** Chains of differential snapshots of a guest whose RAM and devices change at random, compared with full ones. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { assertStatus } from './answers.ts';
import { boot } from './boot.ts';
import { makeImage } from './images.ts';
import { openShell, type Shell } from './shell.ts';
import { ptyOf, stateOf } from './vm-info.ts';
import { startVmm, type TestVmm } from './vmm.ts';

const MIB = 2 ** 20;
/** Bytes that are compared at a time. */
const CHUNK_BYTES = MIB;
/** Snapshots of a chain, at most. */
export const CHAIN_MAX = 8;

/** Writes a snapshot of a VM, which is paused for it. @returns its folder */
export async function saveAs(vmm: TestVmm, folder: string, type: 'full' | 'diff'): Promise<string> {
  mkdirSync(folder);
  if ((await stateOf(vmm)) === 'Running') assertStatus(await vmm.put('vm.pause'), 204);
  const request = { destination_url: `file://${folder}`, snapshot_type: type };
  assertStatus(await vmm.put('vm.snapshot', request), 204);
  return folder;
}

/** Fails where the RAM and registers of two paused VMs differ: those that QEMU dumps. The dumps are removed. */
export async function assertSameMachine(one: TestVmm, other: TestVmm): Promise<void> {
  const dumps = [join(one.folder, 'core'), join(other.folder, 'core')] as const;
  for (const [vmm, path] of [
    [one, dumps[0]],
    [other, dumps[1]],
  ] as const) {
    assertStatus(await vmm.put('vm.coredump', { destination_url: `file://${path}` }), 204);
  }
  await assertSameFile(...dumps);
  for (const path of dumps) rmSync(path);
}

async function assertSameFile(one: string, other: string): Promise<void> {
  await using a = await open(one);
  await using b = await open(other);
  const { size } = await a.stat();
  assert.equal((await b.stat()).size, size);
  const [left, right] = [Buffer.alloc(CHUNK_BYTES), Buffer.alloc(CHUNK_BYTES)];
  for (let at = 0; at < size; at += CHUNK_BYTES) {
    const [n] = await Promise.all([fill(a, left, at), fill(b, right, at)]);
    assert.equal(left.compare(right, 0, n, 0, n), 0, `the machines differ in the MiB at ${at}`);
  }
}

async function fill(file: FileHandle, into: Buffer, at: number): Promise<number> {
  return (await file.read(into, 0, into.length, at)).bytesRead;
}

/** A guest with a chain of snapshots. */
interface Source {
  readonly vmm: TestVmm;
  readonly shell: Shell;
}

/** Runs generations of one guest, each in the restored VM of the one before. `random` returns numbers from 0 to 1. */
export async function runGenerations(count: number, random: () => number): Promise<void> {
  await using source = await startVmm();
  await using clone = await startVmm();
  const folder = source.folder;
  let shell = await boot(source, {
    memory: { size: 256 * MIB, hotplug_size: 512 * MIB },
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
  });
  await shell.run('mkdir /m; mount -t tmpfs -o size=90% m /m; head -c 3000000 /dev/urandom >/m/0');
  let last = await saveAs(source, join(folder, 'full'), 'full');
  for (let depth = 1, generation = 1; generation <= count; generation++) {
    assertStatus(await source.put('vm.resume'), 204);
    await change({ vmm: source, shell }, { generation, random });
    const isFull = depth === CHAIN_MAX;
    last = await saveAs(source, join(folder, `${generation}`), isFull ? 'full' : 'diff');
    depth = isFull ? 1 : depth + 1;
    assertStatus(await clone.put('vm.restore', { source_url: `file://${last}` }), 204);
    await assertSameMachine(source, clone);
    assertStatus(await clone.put('vm.delete'), 204);
    if (random() < 0.5) continue;
    // the next generation is that of a restored VM
    shell[Symbol.dispose]();
    assertStatus(await source.put('vm.delete'), 204);
    assertStatus(await source.put('vm.restore', { source_url: `file://${last}` }), 204);
    shell = openShell(await ptyOf(source));
  }
  shell[Symbol.dispose]();
}

/** Changes the guest of a VM at random: files in its RAM, more RAM, or a disk. */
async function change(
  { vmm, shell }: Source,
  { generation, random }: { readonly generation: number; readonly random: () => number },
): Promise<void> {
  const kib = 4 + Math.floor(random() * 4000);
  await shell.run(`head -c ${kib * 1024} /dev/urandom >/m/${generation % 8}`);
  const choice = random();
  if (choice < 0.2) await shell.run(`rm -f /m/${Math.floor(random() * 8)}; echo 3 >/proc/sys/vm/drop_caches`);
  else if (choice < 0.4) await growRam(vmm);
  else if (choice < 0.7) await addDisk(vmm, generation);
}

async function growRam(vmm: TestVmm): Promise<void> {
  const { json } = await vmm.get('vm.info');
  const { config } = json as { config: { memory: { size: number } } };
  const now = config.memory.size;
  if (now >= 768 * MIB) return;
  assertStatus(await vmm.put('vm.resize', { desired_ram: now + 128 * MIB }), 204);
}

async function addDisk(vmm: TestVmm, generation: number): Promise<void> {
  const path = makeImage(join(vmm.folder, `disk${generation}`), MIB);
  assertStatus(await vmm.put('vm.add-disk', { path, readonly: true, id: `disk${generation}` }), 200);
  if (generation % 3 === 0) assertStatus(await vmm.put('vm.remove-device', { id: `disk${generation}` }), 204);
}
