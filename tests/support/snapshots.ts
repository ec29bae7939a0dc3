import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { boot } from './boot.ts';
import { assertStatus, type TestVmm } from './vmm.ts';

const MIB = 2 ** 20;

/** Saves a guest with a disk, a network, a pmem device and a vsock, deletes its VM and returns the snapshot's folder. */
export async function savedGuest(vmm: TestVmm): Promise<string> {
  const snapshot = join(vmm.folder, 'snapshot');
  const [disk, persistent] = [join(vmm.folder, 'disk.raw'), join(vmm.folder, 'pmem.img')];
  for (const path of [disk, persistent]) writeFileSync(path, Buffer.alloc(4 * MIB));
  using shell = await boot(vmm, {
    memory: { size: 192 * MIB },
    disks: [{ path: disk }],
    net: [{ backend: 'user' }],
    pmem: [{ file: persistent }],
    vsock: { cid: 3, socket: join(vmm.folder, 'vsock') },
  });
  await shell.run('modprobe -a virtio_pmem nd_pmem; until [ -b /dev/pmem0 ]; do :; done; echo kept > /kept');
  assertStatus(await vmm.put('vm.pause'), 204);
  mkdirSync(snapshot);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${snapshot}` }), 204);
  assertStatus(await vmm.put('vm.delete'), 204);
  return snapshot;
}
