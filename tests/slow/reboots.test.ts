// Two hundred reboots by a guest with one network of each kind: each of them works after each reboot.
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from '../support/answers.ts';
import { startNetBackend, startStrictProxy } from '../support/backends.ts';
import { createAndBoot } from '../support/boot.ts';
import { guestConfig } from '../support/guest.ts';
import { attribute, interfaceName, ip, withInterface } from '../support/host-network.ts';
import { openShell, type Shell } from '../support/shell.ts';
import { openTap } from '../support/tap.ts';
import { ptyOf } from '../support/vm-info.ts';
import { startVmm, type TestVmm } from '../support/vmm.ts';
import { until } from '../support/wait.ts';

const REBOOTS = 200;
/** Timeout of one reboot, in milliseconds. */
const REBOOT_MS = 60_000;

const KINDS = ['named', 'made', 'given', 'macvtap', 'user', 'listening', 'connecting'] as const;
const mac = (i: number): string => `2e:00:00:00:02:0${i}`;
const host = (i: number): string => `10.94.${i}.1`;

/** Runs in the guest at each boot. It uses one of its two processors, and so one of several pairs of queues. */
const SCRIPT = KINDS.map((kind, i) => {
  const find = `for d in /sys/class/net/*; do grep -q ${mac(i)} $d/address && n=$(basename $d); done`;
  return `${find}; ip addr add 10.94.${i}.9/24 dev $n; ip link set $n up; ping -c 1 -w 20 ${host(i)} >/dev/null && echo ${kind}-works`;
}).join('; ');

test(`a guest reboots ${REBOOTS} times, and each kind of network works after each`, async () => {
  const named = interfaceName();
  using _named = withInterface(
    named,
    'tuntap',
    'add',
    'dev',
    named,
    'mode',
    'tap',
    'vnet_hdr',
    'multi_queue',
  );
  using given = openTap(2);
  const [cable, end, macvtap] = [interfaceName(), interfaceName(), interfaceName()];
  using _cable = withInterface(cable, 'link', 'add', cable, 'type', 'veth', 'peer', 'name', end);
  ip('link', 'add', 'link', cable, 'name', macvtap, 'address', mac(3), 'type', 'macvtap');
  for (const one of [named, macvtap, cable, end]) ip('link', 'set', one, 'up');
  for (const [name, i] of [
    [named, 0],
    [given.name, 2],
    [end, 3],
  ] as const)
    ip('addr', 'add', `${host(i)}/24`, 'dev', name);
  const device = `/dev/tap${attribute(macvtap, 'ifindex')}`;
  const queues = [openSync(device, 'r+'), openSync(device, 'r+')];
  try {
    await using vmm = await startVmm({ inherited: [...given.fds, ...queues] });
    await using served = startServed(vmm);
    const config = guestConfig({
      cpus: { boot_vcpus: 2, max_vcpus: 2 },
      memory: { size: 256 * 2 ** 20, shared: true },
      cmdline: { args: `console=ttyS0 quiet maxcpus=1 nephos.run="${SCRIPT}; reboot -f"` },
      net: [
        { tap: named, num_queues: 4, mac: mac(0) },
        { ip: host(1), num_queues: 4, mac: mac(1) },
        { fds: [3, 4], num_queues: 4, mac: mac(2) },
        { fds: [5, 6], num_queues: 4, mac: mac(3) },
        { backend: 'user', ip: host(4), mac: mac(4) },
        { ...VHOST_USER, vhost_socket: served.listening, mac: mac(5) },
        { ...VHOST_USER, vhost_socket: served.connecting, vhost_mode: 'Server', mac: mac(6) },
      ],
    });
    await createAndBoot(vmm, config);
    using shell = openShell(await ptyOf(vmm));
    for (let boots = 1; boots <= REBOOTS; boots++) await untilWorking(shell, boots);
    assertStatus(await vmm.put('vm.delete'), 204);
    // other interfaces may be added and removed meanwhile
    const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
    assert.ok(addresses.some(({ address }) => address === host(0)));
    assert.ok(!addresses.some(({ address }) => address === host(1)), 'the TAP that the VMM made is gone');
    assert.doesNotMatch(served.refusals(), /refused/);
  } finally {
    for (const fd of queues) closeSync(fd);
  }
});

const VHOST_USER = { vhost_user: true, num_queues: 4 };

/** Back-ends of vhost-user networks that are as strict as Cloud Hypervisor's, one that listens and one that connects. */
function startServed({ folder }: TestVmm) {
  const [listening, connecting] = [join(folder, 'listening'), join(folder, 'connecting')];
  const queues = VHOST_USER.num_queues;
  const backends = [
    startNetBackend('serve', `${listening}.behind`, { address: host(5), queues }),
    startNetBackend('serve', `${connecting}.behind`, { address: host(6), queues }),
  ];
  const gates = [
    startStrictProxy('listen', listening, `${listening}.behind`),
    startStrictProxy('connect', connecting, `${connecting}.behind`),
  ];
  return {
    listening,
    connecting,
    refusals: () => gates.map((gate) => gate.output()).join(''),
    async [Symbol.asyncDispose]() {
      for (const one of [...gates, ...backends]) await one[Symbol.asyncDispose]();
    },
  };
}

/** First output of the guest's init at each boot. */
const BOOTED = 'NEPHOS-USERSPACE\n';

/** A network must work after each boot: its output after the next one does not count. */
async function untilWorking(shell: Shell, boots: number): Promise<void> {
  const shownAt = (boot: number): string | undefined => shell.shown().split(BOOTED)[boot];
  const missing = (): string[] =>
    KINDS.filter((kind) => !(shownAt(boots) ?? '').split('\n').includes(`${kind}-works`));
  await until(
    `each network works after boot ${boots}`,
    () => missing().length === 0 || shownAt(boots + 1) !== undefined,
    () => shell.shown().slice(-2000),
    REBOOT_MS,
  );
  assert.deepEqual(missing(), [], `do not work after boot ${boots}: ${shownAt(boots)}`);
}
