// 500 lifecycles of a VM with a device of each host resource: no resource is left, no memory use grows.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from '../support/answers.ts';
import { createAndBoot } from '../support/boot.ts';
import { guestConfig } from '../support/guest.ts';
import { interfaces } from '../support/host-network.ts';
import { makeImage } from '../support/images.ts';
import { childrenOf, descriptorsOf } from '../support/processes.ts';
import { startVmm, type TestVmm } from '../support/vmm.ts';
import { until } from '../support/wait.ts';

const LIVES = 500;
/** Lifecycles after which all code is loaded and compiled. */
const WARM = 50;
const MIB = 2 ** 20;
/** Most growth of the VMM's memory in 450 lifecycles: a leak of 50 KiB in each would be more. */
const GROWTH = 20 * MIB;

function residentOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kib) * 1024;
}

/** Processes, files and interfaces of a VMM without a VM. */
function traces(vmm: TestVmm) {
  return {
    children: childrenOf(vmm.pid),
    files: readdirSync(vmm.folder),
    interfaces: interfaces(),
  };
}

/** Numbers that may decrease: a thread or a file descriptor of libuv may have been closing. */
function counts(vmm: TestVmm): readonly number[] {
  return [readdirSync(`/proc/${vmm.pid}/task`).length, descriptorsOf(vmm.pid).length];
}

test(`${LIVES} lifecycles leave no process, thread, descriptor, file, interface or memory`, async () => {
  // V8 collects garbage late where it has memory: with a small heap only a leak grows
  await using vmm = await startVmm({ env: { NODE_OPTIONS: '--max-old-space-size=24' } });
  const disk = join(vmm.folder, 'disk.raw');
  makeImage(disk, MIB);
  const config = guestConfig({
    console: { mode: 'Pty' },
    disks: [{ path: disk }],
    net: [{ ip: '10.79.1.1' }],
    vsock: { cid: 3, socket: join(vmm.folder, 'vsock') },
    balloon: { size: 0 },
  });
  const live = async (): Promise<void> => {
    await createAndBoot(vmm, config);
    assertStatus(await vmm.put('vm.pause'), 204);
    assertStatus(await vmm.put('vm.resume'), 204);
    assertStatus(await vmm.put('vm.shutdown'), 204);
    assertStatus(await vmm.put('vm.delete'), 204);
  };
  for (let i = 0; i < WARM; i++) await live();
  const [before, most, resident] = [traces(vmm), counts(vmm), residentOf(vmm.pid)];
  for (let i = WARM; i < LIVES; i++) await live();
  await until(
    'all is as before',
    () =>
      JSON.stringify(traces(vmm)) === JSON.stringify(before) &&
      counts(vmm).every((count, i) => count <= (most[i] ?? 0)),
    () => JSON.stringify([before, most, traces(vmm), counts(vmm)]),
  );
  const grown = residentOf(vmm.pid) - resident;
  assert.ok(grown < GROWTH, `${grown} bytes more after ${LIVES - WARM} lives`);
});
