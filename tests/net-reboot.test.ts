// A guest that uses fewer queues than its networks have: QEMU detaches the others from the TAP, whose descriptors the next QEMU gets.
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { connectSending, sendAtOnce } from './support/descriptors.ts';
import { attribute, interfaceName, ip, withInterface } from './support/host-network.ts';
import { openShell, type Shell } from './support/shell.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { openTap } from './support/tap.ts';
import { ptyOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** A network of the guest: its MAC address there, and an address for each side. */
interface Network {
  readonly mac: string;
  readonly host: string;
  readonly guest: string;
}

const GIVEN: Network = { mac: '2e:00:00:00:01:01', host: '10.93.1.1', guest: '10.93.1.2' };
const SENT: Network = { mac: '2e:00:00:00:01:02', host: '10.93.2.1', guest: '10.93.2.2' };

/** The guest switches one of its two processors off: its driver uses one pair of queues then. */
const CONFIG = { cpus: { boot_vcpus: 2, max_vcpus: 2 }, cmdline: { args: 'console=ttyS0 maxcpus=1' } };

async function reach(shell: Shell, { mac, host, guest }: Network): Promise<void> {
  const find = `for one in /sys/class/net/*; do grep -q ${mac} $one/address && basename $one; done`;
  await until('the guest has the network', async () => (await shell.run(find)).startsWith('eth'));
  const name = await shell.run(find);
  await shell.run(`ip addr add ${guest}/24 dev ${name}; ip link set ${name} up`);
  assert.match(await shell.run(`ping -c 2 -w 20 ${host}`), / 0% packet loss/);
}

async function rebootFromInside(vmm: TestVmm, shell: Shell): Promise<void> {
  shell.type('reboot -f\r');
  await shell.login();
  assert.equal(vmm.exitCode(), null);
}

test('detached queues of TAPs and macvtaps are attached for reboots and restores', async () => {
  using given = openTap(2);
  using sent = openTap(2);
  const [cable, end, macvtap] = [interfaceName(), interfaceName(), interfaceName()];
  using _cable = withInterface(cable, 'link', 'add', cable, 'type', 'veth', 'peer', 'name', end);
  using _macvtap = withInterface(macvtap, 'link', 'add', 'link', cable, 'name', macvtap, 'type', 'macvtap');
  const other: Network = { mac: attribute(macvtap, 'address'), host: '10.93.3.1', guest: '10.93.3.2' };
  for (const one of [macvtap, cable, end]) ip('link', 'set', one, 'up');
  for (const [name, { host }] of [
    [given.name, GIVEN],
    [sent.name, SENT],
    [end, other],
  ] as const)
    ip('addr', 'add', `${host}/24`, 'dev', name);
  const device = `/dev/tap${attribute(macvtap, 'ifindex')}`;
  const queues = [openSync(device, 'r+'), openSync(device, 'r+')];
  try {
    await using vmm = await startVmm({ inherited: [...given.fds, ...queues] });
    const net = [
      { fds: [3, 4], num_queues: 4, mac: GIVEN.mac, id: 'given' },
      { fds: [5, 6], num_queues: 4, mac: other.mac, id: 'macvtap' },
    ];
    using shell = await boot(vmm, { ...CONFIG, net });
    using client = connectSending(vmm.socket);
    sendAtOnce(client, 'vm.add-net', { body: { id: 'sent', mac: SENT.mac }, fds: sent.fds });
    assert.match(await client.answer(), /^HTTP\/1\.1 200 /);
    for (const restarts of [true, false]) {
      for (const network of [GIVEN, SENT, other]) await reach(shell, network);
      if (restarts) await rebootFromInside(vmm, shell);
    }

    const folder = join(vmm.folder, 'snapshot');
    await takeSnapshot(vmm, folder);
    assertStatus(await vmm.put('vm.delete'), 204);
    sendAtOnce(client, 'vm.restore', {
      body: {
        source_url: `file://${folder}`,
        resume: true,
        net_fds: [{ id: 'sent', num_fds: 2 }],
      },
      fds: sent.fds,
    });
    assert.match(await client.answer(), /^HTTP\/1\.1 204 /);
    using again = openShell(await ptyOf(vmm));
    for (const { host } of [GIVEN, SENT, other]) {
      assert.match(await again.run(`ping -c 2 -w 20 ${host}`), / 0% packet loss/);
    }
  } finally {
    for (const fd of queues) closeSync(fd);
  }
});
