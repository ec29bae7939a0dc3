// Networks on TAPs, on inherited file descriptors and in user mode, observed in the guest and on the host.
import assert from 'node:assert/strict';

import { closeSync, openSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import {
  addresses,
  attribute,
  interfaceName,
  interfaces,
  ip,
  withInterface,
} from './support/host-network.ts';
import { freePort, readFromPort } from './support/ports.ts';
import type { Shell } from './support/shell.ts';
import { openTap, openTapCount } from './support/tap.ts';
import { countersOf, infoOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

async function netsOf(vmm: TestVmm) {
  return (await infoOf(vmm)).config.net ?? [];
}

/** Sets a guest's interface up and pings the host through it. */
async function reaches(shell: Shell, dev: string, own: string, host: string): Promise<void> {
  await shell.run(`ip addr add ${own}/24 dev ${dev}; ip link set ${dev} up`);
  assert.match(await shell.run(`ping -c 2 -W 20 -I ${dev} ${host}`), / 0% packet loss/, `${dev} to ${host}`);
}

/** Counters of the guest's driver, by the names of vm.counters. */
async function guestCounters(shell: Shell, dev: string): Promise<Record<string, number>> {
  const names = ['rx_bytes', 'rx_packets', 'tx_bytes', 'tx_packets'];
  const shown = await shell.run(`cd /sys/class/net/${dev}/statistics; cat ${names.join(' ')}; cd /`);
  const [rxBytes = 0, rxFrames = 0, txBytes = 0, txFrames = 0] = shown.split('\n').map(Number);
  return { rx_bytes: rxBytes, rx_frames: rxFrames, tx_bytes: txBytes, tx_frames: txFrames };
}

function growth(from: Record<string, number>, to: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(to).map(([name, value]) => [name, value - (from[name] ?? 0)]));
}

test('TAPs of a VM', async (t) => {
  const [named, existing] = [interfaceName(), interfaceName()];
  using _existing = withInterface(existing, 'tuntap', 'add', 'dev', existing, 'mode', 'tap', 'multi_queue');
  ip('addr', 'add', '10.91.3.1/24', 'dev', existing);
  const before = interfaces();
  await using vmm = await startVmm();
  using shell = await boot(vmm, {
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    net: [
      {
        tap: named,
        ip: '10.91.1.1',
        mask: '255.255.255.128',
        mac: '52:54:00:AA:BB:01',
        host_mac: '52:54:00:aa:bb:ff',
        queue_size: 512,
      },
      { ip: '10.91.2.1' },
      { tap: existing, ip: '10.91.4.1', num_queues: 4, id: 'multi' },
    ],
  });
  const made = interfaces().filter((name) => !before.includes(name));
  const generated = made.find((name) => name !== named) ?? '';
  const nets = await netsOf(vmm);
  const macs = nets.map(({ mac }) => mac);
  const guestMacs = async (): Promise<string[]> =>
    (await shell.run('cat /sys/class/net/eth?/address')).split('\n');

  await t.test('a TAP of another name is made for each network that names none', () => {
    assert.equal(made.length, 2);
    assert.match(generated, /^vmtap\d+$/);
  });
  await t.test('ip and mask are set on TAPs that the VMM makes, not on one that exists', () => {
    assert.deepEqual(
      [named, generated, existing].map((name) => addresses(name)),
      [['10.91.1.1/25'], ['10.91.2.1/24'], ['10.91.3.1/24']],
    );
  });
  await t.test('host_mac is set on the TAP', () => {
    assert.equal(attribute(named, 'address'), '52:54:00:aa:bb:ff');
  });
  await t.test('vm.info shows ids, TAPs and MAC addresses of the host', () => {
    assert.deepEqual(
      nets.map(({ id, tap }) => [id, tap]),
      [
        ['_net0', named],
        ['_net1', undefined],
        ['multi', existing],
      ],
    );
    assert.deepEqual(
      nets.map(({ host_mac: mac }) => mac),
      [named, generated, existing].map((name) => attribute(name, 'address')),
    );
  });
  await t.test('MAC addresses of the guest are those of vm.info, configured or generated', async () => {
    assert.equal(macs[0], '52:54:00:aa:bb:01');
    assert.match(macs[1] ?? '', /^2e(:[\da-f]{2}){5}$/);
    assert.deepEqual(await guestMacs(), macs);
  });
  await t.test('num_queues reaches the driver', async () => {
    const queues = 'for i in 0 1 2; do ls -d /sys/class/net/eth$i/queues/rx-* | wc -l; done';
    assert.deepEqual(await shell.run(queues), '1\n1\n2');
  });
  for (const [dev, host] of [
    ['eth0', '10.91.1.1'],
    ['eth1', '10.91.2.1'],
    ['eth2', '10.91.3.1'],
  ] as const) {
    await t.test(`the guest reaches the host through ${dev}`, () =>
      reaches(shell, dev, host.replace(/1$/, '2'), host),
    );
  }
  for (const [id, dev, host] of [
    ['_net0', 'eth0', '10.91.1.1'],
    ['multi', 'eth2', '10.91.3.1'],
  ] as const) {
    await t.test(`vm.counters of ${id} grow as the counters of the guest's driver`, () =>
      countsAsGuest(vmm, shell, { id, dev, host }),
    );
  }
  const [refused, taps] = [refusedTaps(named, existing), () => openTapCount(vmm.pid)];
  for (const [net, message] of refused) {
    await t.test(
      `vm.add-net of ${JSON.stringify(net)} is refused: ${message.source.slice(0, 40)}`,
      async () => {
        const during = [interfaces(), taps()] as const;
        assertRefused(await vmm.put('vm.add-net', net), 500, message);
        assert.deepEqual([interfaces(), taps()], during);
      },
    );
  }
  await t.test('a hot-plugged network works, and its TAP is removed with it', async () => {
    const during = interfaces().length;
    assertStatus(await vmm.put('vm.add-net', { ip: '10.91.5.1', id: 'late' }), 200);
    await until('the guest has it', async () => (await shell.run('ls /sys/class/net')).includes('eth3'));
    await reaches(shell, 'eth3', '10.91.5.2', '10.91.5.1');
    assertStatus(await vmm.put('vm.remove-device', { id: 'late' }), 204);
    await until('its TAP is removed', () => interfaces().length === during);
  });
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await t.test('MAC addresses are the same after a reboot', async () => {
    assert.deepEqual(await guestMacs(), macs);
    assert.deepEqual(await netsOf(vmm), nets);
  });
  await t.test('vm.counters start at 0 after a reboot, although an existing TAP counts on', async () => {
    const counted = (await countersOf(vmm))['multi']?.['rx_bytes'] ?? Infinity;
    assert.ok(counted <= Number(attribute(existing, 'statistics/tx_bytes')) - 3000, String(counted));
  });
  await t.test('an existing TAP works after a reboot', () =>
    reaches(shell, 'eth2', '10.91.3.2', '10.91.3.1'),
  );
  await t.test('vm.shutdown removes the TAPs that the VMM made and closes all', async () => {
    assertStatus(await vmm.put('vm.shutdown'), 204);
    assert.deepEqual(interfaces(), before);
    assert.equal(taps(), 0);
  });
  await t.test('the TAPs of a killed VMM are removed, an existing one keeps its address', async () => {
    assertStatus(await vmm.put('vm.boot'), 204);
    assert.equal(interfaces().length, before.length + 2);
    vmm.kill('SIGKILL');
    await until('the TAPs are removed', () => interfaces().length === before.length);
    assert.deepEqual(addresses(existing), ['10.91.3.1/24']);
  });
});

/** Networks that cannot be added while the TAPs are in use, with the reasons. */
function refusedTaps(named: string, existing: string): readonly (readonly [object, RegExp])[] {
  return [
    [{ tap: named }, new RegExp(`net _net2: tap ${named}: is in use by another program`)],
    [{ tap: existing, num_queues: 4 }, /is in use by another program/],
    [{ tap: existing }, /was made with multi_queue/],
    [{ tap: named, num_queues: 4 }, /was made without multi_queue/],
    [{ tap: 'lo' }, /tap lo: is an interface of another kind, not a TAP/],
    [{ fd: [99] }, /fd 99 is no TAP of this process/],
  ];
}

interface CountedNet {
  readonly id: string;
  readonly dev: string;
  readonly host: string;
}

/** Compares growths: frames that arrived while the guest's interface was down have not reached its driver. */
async function countsAsGuest(vmm: TestVmm, shell: Shell, { id, dev, host }: CountedNet): Promise<void> {
  // the two are not read at the same time: a frame between the reads is no fault
  await until(`${id} counts the frames of its guest`, async () => {
    const [ours, theirs] = [(await countersOf(vmm))[id] ?? {}, await guestCounters(shell, dev)];
    await shell.run(`ping -c 3 -s 1000 -I ${dev} ${host}`);
    const grown = growth(ours, (await countersOf(vmm))[id] ?? {});
    assert.deepEqual(grown, growth(theirs, await guestCounters(shell, dev)));
    return (grown['rx_bytes'] ?? 0) > 3000 && (grown['tx_frames'] ?? 0) >= 3;
  });
}

test('inherited TAPs, an inherited macvtap, and a user-mode network', async (t) => {
  const [cable, end, macvtap] = [interfaceName(), interfaceName(), interfaceName()];
  // the host cannot reach a macvtap through its lower interface, but from the peer of a veth pair
  using _cable = withInterface(cable, 'link', 'add', cable, 'type', 'veth', 'peer', 'name', end);
  using _macvtap = withInterface(macvtap, 'link', 'add', 'link', cable, 'name', macvtap, 'type', 'macvtap');
  const mac = attribute(macvtap, 'address');
  ip('link', 'set', macvtap, 'up');
  ip('addr', 'add', '10.92.1.1/24', 'dev', end);
  for (const one of [cable, end]) ip('link', 'set', one, 'up');
  using tap = openTap(2);
  ip('addr', 'add', '10.92.2.1/24', 'dev', tap.name);
  const macvtapFd = openSync(`/dev/tap${attribute(macvtap, 'ifindex')}`, 'r+');
  const port = await freePort();
  try {
    await using vmm = await startVmm({ inherited: [...tap.fds, macvtapFd] });
    using shell = await boot(vmm, {
      cpus: { boot_vcpus: 2, max_vcpus: 2 },
      net: [
        { fds: [3, 4], num_queues: 4 },
        { fds: [5], mac, id: 'macvtap' },
        {
          ...{ backend: 'user', ip: '10.92.3.1' },
          forwards: [
            { host_port: port, guest_port: 7 },
            { protocol: 'udp', host_address: '127.0.0.2', host_port: port, guest_port: 7 },
          ],
        },
      ],
    });
    await t.test('a forward of UDP listens at its host_address', () => {
      // in /proc the bytes of the address are from the last to the first
      const listens = `0200007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
      assert.ok(readFileSync('/proc/net/udp', 'utf8').includes(listens));
    });
    for (const when of ['at boot', 'after a reboot']) {
      if (when === 'after a reboot') {
        assertStatus(await vmm.put('vm.reboot'), 204);
        await shell.login();
      }
      await t.test(`${when}, an inherited TAP has its two pairs of queues and reaches the host`, async () => {
        await reaches(shell, 'eth0', '10.92.2.2', '10.92.2.1');
        assert.equal(await shell.run('ls -d /sys/class/net/eth0/queues/rx-* | wc -l'), '2');
      });
      await t.test(`${when}, a macvtap reaches the other end of its interface, and counts`, async () => {
        const before = (await countersOf(vmm))['macvtap'];
        await reaches(shell, 'eth1', '10.92.1.2', '10.92.1.1');
        const grown = growth(before ?? {}, (await countersOf(vmm))['macvtap'] ?? {});
        assert.ok((grown['tx_frames'] ?? 0) >= 2 && (grown['rx_frames'] ?? 0) >= 2, JSON.stringify(grown));
      });
      await t.test(`${when}, a user-mode network has DHCP and a gateway`, async () => {
        await shell.run('ip link set eth2 up; udhcpc -i eth2 -n -q -s /bin/true 2>&1');
        await reaches(shell, 'eth2', '10.92.3.15', '10.92.3.1');
      });
      await t.test(`${when}, a forwarded port reaches the guest`, async () => {
        shell.type('echo hello from the guest | nc -l -p 7\r');
        await until('the port answers', async () => (await readFromPort(port)).includes('hello from'));
      });
    }
  } finally {
    closeSync(macvtapFd);
  }
});
