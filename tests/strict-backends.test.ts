// vhost-user back-ends behind a proxy as strict as rust-vmm's crates, which Cloud Hypervisor's own back-ends use.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { startBlockBackend, startFsBackend, startNetBackend, startStrictProxy } from './support/backends.ts';
import { createAndBoot, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import type { Shell } from './support/shell.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
/** Addresses of the hosts behind the networks. */
const [LISTENING, CONNECTING, ADDED] = ['10.93.1.1', '10.93.2.1', '10.93.3.1'] as const;
const macOf = (host: string): string => `2e:00:00:93:00:0${host.split('.')[2]}`;

async function reaches(shell: Shell, host: string): Promise<void> {
  const own = host.replace(/1$/, '2');
  const find = `for d in /sys/class/net/*; do grep -q ${macOf(host)} $d/address && n=$(basename $d); done`;
  await shell.run(`${find}; ip addr replace ${own}/24 dev $n; ip link set $n up`);
  assert.match(await shell.run(`ping -c 2 -s 1400 -W 20 ${host}`), / 0% packet loss/, host);
}

async function works(shell: Shell): Promise<void> {
  await reaches(shell, LISTENING);
  await reaches(shell, CONNECTING);
  assert.equal(
    await shell.run('dd if=/dev/vda bs=512 count=1 iflag=direct 2>/dev/null | head -c 5'),
    'image',
  );
  await shell.run('mkdir -p /mnt/shared; mount -t virtiofs shared /mnt/shared');
  assert.equal(await shell.run('cat /mnt/shared/file'), 'of the host');
  await shell.run('umount /mnt/shared');
}

test('strict back-ends of networks, a disk and a shared folder', async (t) => {
  await using vmm = await startVmm();
  const at = (name: string): string => join(vmm.folder, name);
  makeImage(at('image'), 4 * MIB, 'image of the host');
  mkdirSync(at('folder'));
  writeFileSync(join(at('folder'), 'file'), 'of the host');
  await using _first = startNetBackend('serve', at('first'), { address: LISTENING, queues: 4 });
  await using _second = startNetBackend('serve', at('second'), { address: CONNECTING, queues: 2 });
  await using _disk = startBlockBackend(at('disk'), at('image'), { queues: 2 });
  await using fs = startFsBackend(at('fs'), at('folder'));
  await using _proxies = {
    listening: startStrictProxy('listen', at('first, strict'), at('first')),
    connecting: startStrictProxy('connect', at('second, strict'), at('second')),
    disk: startStrictProxy('listen', at('disk, strict'), at('disk')),
    fs: startStrictProxy('listen', at('fs, strict'), at('fs')),
    async [Symbol.asyncDispose]() {
      for (const proxy of [this.listening, this.connecting, this.disk, this.fs])
        await proxy[Symbol.asyncDispose]();
    },
  };
  const proxies = [_proxies.listening, _proxies.connecting, _proxies.disk, _proxies.fs];
  const served = { vhost_user: true, num_queues: 2 };
  const net = (host: string, name: string) => ({ ...served, mac: macOf(host), vhost_socket: at(name) });
  const config = guestConfig({
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    memory: { size: 256 * MIB, shared: true },
    net: [
      { ...net(LISTENING, 'first, strict'), num_queues: 4 },
      { ...net(CONNECTING, 'second, strict'), vhost_mode: 'Server' },
    ],
    disks: [{ ...served, vhost_socket: at('disk, strict') }],
    fs: [{ tag: 'shared', socket: at('fs, strict') }],
  });
  await createAndBoot(vmm, config);
  using shell = await login(vmm);
  await t.test('work at boot', () => works(shell));

  await shell.run(
    'for d in /sys/bus/virtio/drivers/virtio_net/virtio*; do d=$(basename $d); ' +
      'for w in unbind bind; do echo $d >/sys/bus/virtio/drivers/virtio_net/$w; done; done',
  );
  await t.test('work after the driver of the networks is bound again', () => works(shell));
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.resume'), 204);
  await t.test('work after vm.pause and vm.resume', () => works(shell));
  await t.test('a network is hot-plugged and removed', () => addsNetwork(vmm, shell));

  shell.type('reboot -f\r');
  await fs.ended;
  await using _fs = startFsBackend(at('fs'), at('folder'));
  await shell.login();
  await t.test('work after a reset by the guest', () => works(shell));
  await t.test('the proxies saw protocol features, and no violation of a rule', () => {
    for (const proxy of proxies) {
      assert.match(
        proxy.output(),
        /^features [0-9a-f]*[4567c-f][0-9a-f]{7}$/m,
        'the protocol features are acknowledged',
      );
      assert.doesNotMatch(proxy.output(), /refused/);
    }
  });

  await t.test('a strict back-end that is restarted is used again', async () => {
    await _proxies.listening[Symbol.asyncDispose]();
    await using again = startStrictProxy('listen', at('first, strict'), at('first'));
    await until('the guest reaches the host', async () => {
      await reaches(shell, LISTENING);
      return true;
    });
    assert.doesNotMatch(again.output(), /refused/);
  });
});

/** Adds a network while the VM runs, and removes it again. */
async function addsNetwork(vmm: TestVmm, shell: Shell): Promise<void> {
  const [behind, socket] = ['third', 'third, strict'].map((name) => join(vmm.folder, name));
  await using _backend = startNetBackend('serve', behind ?? '', { address: ADDED, queues: 2 });
  await using proxy = startStrictProxy('connect', socket ?? '', behind ?? '');
  const added = {
    vhost_user: true,
    vhost_socket: socket,
    vhost_mode: 'Server',
    mac: macOf(ADDED),
    id: 'added',
  };
  assertStatus(await vmm.put('vm.add-net', added), 200);
  await until('the guest has it', async () =>
    (await shell.run('cat /sys/class/net/*/address')).includes(macOf(ADDED)),
  );
  await reaches(shell, ADDED);
  assertStatus(await vmm.put('vm.remove-device', { id: 'added' }), 204);
  await until('its socket is gone', () => !existsSync(socket ?? ''));
  assert.doesNotMatch(proxy.output(), /refused/);
}
