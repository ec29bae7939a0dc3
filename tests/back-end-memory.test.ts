// RAM that is added to a guest whose disk, shared folder and network have vhost-user back-ends: they map it too.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { startBlockBackend, startFsBackend, startNetBackend } from './support/backends.ts';
import { createAndBoot, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import type { Shell } from './support/shell.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const HOST = '10.97.1.1';

/** Bytes that are the same wherever they are read. */
const CONTENT = Buffer.alloc(16 * MIB, 'content of the host ');

/** Fills the guest's free RAM, so that buffers of its drivers are in the added RAM as well. */
async function fillMemory(shell: Shell): Promise<void> {
  await shell.run('mount -o remount,size=90% /dev/shm 2>/dev/null || mount -t tmpfs -o size=90% m /dev/shm');
  await shell.run('dd if=/dev/zero of=/dev/shm/filled bs=1M count=420 2>/dev/null', 120_000);
}

async function seesAll(shell: Shell): Promise<void> {
  await shell.run('echo 3 >/proc/sys/vm/drop_caches');
  assert.equal(await shell.run('cmp /dev/vda /mnt/content && echo same'), 'same');
  assert.match(await shell.run(`ping -c 2 -s 1400 -W 20 ${HOST}`), / 0% packet loss/);
}

test('a read-only disk, a folder and a network of back-ends go on when RAM is added', async () => {
  await using vmm = await startVmm();
  const [disk, folder, net] = ['disk.sock', 'fs.sock', 'net.sock'].map((name) => join(vmm.folder, name));
  const [image = '', shared = ''] = ['image', 'shared'].map((name) => join(vmm.folder, name));
  mkdirSync(shared);
  makeImage(image, CONTENT.length, CONTENT);
  writeFileSync(join(shared, 'content'), CONTENT);
  await using _disk = startBlockBackend(disk ?? '', image, { writable: false, queues: 2 });
  await using _folder = startFsBackend(folder ?? '', shared);
  await using _net = startNetBackend('listen', net ?? '', { address: HOST, queues: 2 });
  await until('the back-ends listen', () => [disk, folder, net].every((path) => existsSync(path ?? '')));
  const config = guestConfig({
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    memory: { size: 256 * MIB, shared: true, hotplug_size: 1024 * MIB },
    cmdline: { args: 'console=ttyS0 memhp_default_state=online_movable' },
    disks: [{ vhost_user: true, vhost_socket: disk, num_queues: 2 }],
    fs: [{ tag: 'shared', socket: folder }],
    net: [{ vhost_user: true, vhost_socket: net, mac: '52:54:00:97:00:01' }],
  });
  await createAndBoot(vmm, config);
  using shell = await login(vmm);
  assert.equal(await shell.run('cat /sys/block/vda/ro; ls /sys/block/vda/mq | wc -l'), '1\n2');
  assert.equal(await shell.run('cat /sys/class/net/eth0/address'), '52:54:00:97:00:01');
  await shell.run('mount -t virtiofs shared /mnt; ip addr add 10.97.1.2/24 dev eth0; ip link set eth0 up');
  await seesAll(shell);

  assertStatus(await vmm.put('vm.resize', { desired_ram: 768 * MIB }), 204);
  await until('the guest has the RAM', async () => {
    return Number(await shell.run("awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo")) > 650;
  });
  await fillMemory(shell);
  await seesAll(shell);
  await shell.run('cp /dev/vda /mnt/copy; sync');
  assert.equal(await shell.run('cmp /dev/vda /mnt/copy && echo same'), 'same');
});
