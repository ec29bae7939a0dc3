// Back-ends that have not come: the wait for them is told at once, and a shutdown ends it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { guestConfig } from './support/guest.ts';
import { until } from './support/until.ts';
import { assertStatus, startVmm } from './support/vmm.ts';

test('a device whose back-end is missing says at once what is waited for, and for how long', async () => {
  await using vmm = await startVmm();
  const socket = join(vmm.folder, 'back, "end" é');
  const served = { vhost_user: true, vhost_socket: socket };
  for (const [devices, text] of [
    [
      { fs: [{ tag: 't', socket, id: 'one' }] },
      `waiting for fs one: ${socket}: no such socket yet (60 s at most)`,
    ],
    [{ disks: [{ ...served, id: 'two' }] }, `waiting for disk two: ${socket}: no such socket yet`],
    [{ net: [{ ...served, id: 'three' }] }, `waiting for net three: ${socket}: no such socket yet`],
    [
      { net: [{ ...served, vhost_mode: 'Server', id: 'four' }] },
      `waiting for ${socket}: its back-end has not connected yet`,
    ],
  ] as const) {
    const config = guestConfig({ memory: { size: 256 * 2 ** 20, shared: true }, ...devices });
    assertStatus(await vmm.put('vm.create', config), 204);
    const booting = vmm.put('vm.boot');
    await until(text, () => vmm.output().includes(text), vmm.output);
    assertStatus(await vmm.put('vm.delete'), 204);
    assertStatus(await booting, 500);
  }
});

test('a shared folder without shared memory says what to set', async () => {
  const words = ['--kernel', '/k', '--fs', 'tag=t,socket=/s'];
  await using vmm = await startVmm({ api: false, args: words });
  assert.equal(await vmm.exited, 1);
  assert.match(vmm.output(), /fs\[0\]: .*shared memory: set memory\.shared \(--memory shared=on\)/);
});
