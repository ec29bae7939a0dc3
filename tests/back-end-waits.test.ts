// Waits for back-ends: they are logged at once, and a shutdown ends them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { infoOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

test('the log names each missing back-end and the time limit of its wait', async () => {
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

test('a back-end that never answers blocks neither guest nor API nor vm.shutdown', async () => {
  await using vmm = await startVmm();
  const socket = join(vmm.folder, 'silent');
  const connections = new Set<Socket>();
  const silent = createServer((connection) => connections.add(connection.on('error', () => undefined)));
  await once(silent.listen(socket), 'listening');
  try {
    for (const [route, part] of [
      ['vm.add-disk', { vhost_user: true, vhost_socket: socket }],
      ['vm.add-fs', { tag: 't', socket }],
    ] as const) {
      using shell = await boot(vmm, { memory: { size: 256 * 2 ** 20, shared: true } });
      const connected = once(silent, 'connection');
      const adding = vmm.put(route, part);
      await connected;
      assert.equal((await shell.run('echo alive')).trim(), 'alive');
      assert.equal((await vmm.get('vm.info')).status, 200);
      const asked = performance.now();
      assertStatus(await vmm.put('vm.shutdown'), 204);
      assert.ok(performance.now() - asked < 5000);
      assertStatus(await adding, 500);
      const { config } = await infoOf(vmm);
      assert.ok(!('disks' in config) && !('fs' in config));
      assertStatus(await vmm.put('vm.delete'), 204);
    }
  } finally {
    for (const connection of connections) connection.destroy();
    silent.close();
  }
});

test('a shared folder without shared memory: the error names the option', async () => {
  const words = ['--kernel', '/k', '--fs', 'tag=t,socket=/s'];
  await using vmm = await startVmm({ api: false, args: words });
  assert.equal(await vmm.exited, 1);
  assert.match(vmm.output(), /fs\[0\]: .*shared memory: set memory\.shared \(--memory shared=on\)/);
});
