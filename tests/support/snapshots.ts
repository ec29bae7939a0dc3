/** Snapshots and restores, as a client requests them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VmConfigInput } from '../../src/config/vm-config.ts';
import { assertStatus } from './answers.ts';
import { boot } from './boot.ts';
import { makeImage } from './images.ts';
import { openShell, type Shell } from './shell.ts';
import { ptyOf, stateOf } from './vm-info.ts';
import type { TestVmm } from './vmm.ts';

const MIB = 2 ** 20;

/** Files of a snapshot. */
export const SNAPSHOT_FILES = ['config.json', 'manifest.json', 'memory-ranges', 'state.json'];

/** Makes a folder, pauses the VM and writes a snapshot into the folder. @returns the folder */
export async function takeSnapshot(vmm: TestVmm, folder = join(vmm.folder, 'snapshot')): Promise<string> {
  mkdirSync(folder);
  if ((await stateOf(vmm)) === 'Running') assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${folder}` }), 204);
  return folder;
}

/** Restores a snapshot, resumes it and opens its serial PTY, on which the guest's shell is where it was. */
export async function restore(vmm: TestVmm, folder: string, overrides: object = {}): Promise<Shell> {
  const request = { source_url: `file://${folder}`, overrides, resume: true };
  assertStatus(await vmm.put('vm.restore', request), 204);
  return openShell(await ptyOf(vmm));
}

/** Configuration in a snapshot. */
export function readConfig(folder: string): VmConfigInput {
  return JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as VmConfigInput;
}

/** Replaces members of the configuration in a snapshot. */
export function editConfig(folder: string, edit: (config: VmConfigInput) => object): void {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(edit(readConfig(folder))));
}

/** Writes a snapshot of a guest with a disk, a network, a pmem device and a vsock, and deletes its VM. @returns the folder */
export async function snapshotWithDevices(vmm: TestVmm): Promise<string> {
  using shell = await boot(vmm, {
    memory: { size: 192 * MIB },
    disks: [{ path: makeImage(join(vmm.folder, 'disk.raw'), 4 * MIB) }],
    net: [{ backend: 'user' }],
    pmem: [{ file: makeImage(join(vmm.folder, 'pmem.img'), 4 * MIB) }],
    vsock: { cid: 3, socket: join(vmm.folder, 'vsock') },
  });
  await shell.run('modprobe -a virtio_pmem nd_pmem; until [ -b /dev/pmem0 ]; do :; done; echo kept > /kept');
  const snapshot = await takeSnapshot(vmm);
  assertStatus(await vmm.put('vm.delete'), 204);
  return snapshot;
}
