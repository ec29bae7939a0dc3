// Networks, seen in the guest and on the host.
import assert from 'node:assert/strict';

import { closeSync, openSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { openTap } from '../src/host/net/tap.ts';
import { guestConfig } from './support/guest.ts';
import { descriptorsOf } from './support/processes.ts';
import { infoOf } from './support/vm-info.ts';
import {
  addresses,
  attribute,
  interfaceName,
  interfaces,
  ip,
  withInterface,
} from './support/host-network.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { until } from './support/wait.ts';
import { assertStatus, startVmm, type TestVmm } from './support/vmm.ts';

interface NetInfo {
  readonly id: string;
  readonly mac: string;
  readonly host_mac?: string;
  readonly tap?: string;
}

async function boot(vmm: TestVmm, config: Record<string, unknown>): Promise<Shell> {
  assertStatus(await vmm.put('vm.create', config), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const shell = openShell(await ptyOf(vmm));
  await shell.login();
  return shell;
}

async function netsOf(vmm: TestVmm): Promise<readonly NetInfo[]> {
  return ((await infoOf(vmm)).config as { net?: NetInfo[] }).net ?? [];
}

/** Sets a guest's interface up and tries the way to the host. */
async function reaches(shell: Shell, dev: string, own: string, host: string): Promise<void> {
  await shell.run(`ip addr add ${own}/24 dev ${dev}; ip link set ${dev} up`);
  assert.match(await shell.run(`ping -c 2 -W 20 -I ${dev} ${host}`), / 0% packet loss/, `${dev} to ${host}`);
}

const countersOf = async (vmm: TestVmm): Promise<Record<string, Record<string, number>>> =>
  (await vmm.get('vm.counters')).json as Record<string, Record<string, number>>;

/** What the guest's own driver counted, in the words of vm.counters. */
async function guestCounters(shell: Shell, dev: string): Promise<Record<string, number>> {
  const names = ['rx_bytes', 'rx_packets', 'tx_bytes', 'tx_packets'];
  const shown = await shell.run(`cd /sys/class/net/${dev}/statistics; cat ${names.join(' ')}; cd /`);
  const [rxBytes = 0, rxFrames = 0, txBytes = 0, txFrames = 0] = shown.split('\n').map(Number);
  return { rx_bytes: rxBytes, rx_frames: rxFrames, tx_bytes: txBytes, tx_frames: txFrames };
}

function growth(from: Record<string, number>, to: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(to).map(([name, value]) => [name, value - (from[name] ?? 0)]));
}

test('TAPs: by name, generated, existing, multi-queue; they live as long as the machine', async () => {
  const [named, existing] = [interfaceName(), interfaceName()];
  using _existing = withInterface(existing, 'tuntap', 'add', 'dev', existing, 'mode', 'tap', 'multi_queue');
  ip('addr', 'add', '10.91.3.1/24', 'dev', existing);
  const before = interfaces();
  await using vmm = await startVmm();
  using shell = await boot(
    vmm,
    guestConfig({
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
    }),
  );
  const made = interfaces().filter((name) => !before.includes(name));
  const generated = made.find((name) => name !== named) ?? '';
  assert.equal(made.length, 2);
  assert.match(generated, /^vmtap\d+$/);
  assert.deepEqual(
    [named, generated, existing].map((name) => addresses(name)),
    [['10.91.1.1/25'], ['10.91.2.1/24'], ['10.91.3.1/24']],
  );
  assert.equal(attribute(named, 'address'), '52:54:00:aa:bb:ff');

  const nets = await netsOf(vmm);
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
  assert.match(nets[1]?.mac ?? '', /^2e(:[\da-f]{2}){5}$/);
  const macs = nets.map(({ mac }) => mac);
  assert.equal(macs[0], '52:54:00:aa:bb:01');
  const inGuest = async (): Promise<string[]> =>
    (await shell.run('cat /sys/class/net/eth?/address')).split('\n');
  assert.deepEqual(await inGuest(), macs);
  assert.deepEqual(
    await shell.run('for i in 0 1 2; do ls -d /sys/class/net/eth$i/queues/rx-* | wc -l; done'),
    '1\n1\n2',
  );

  await reaches(shell, 'eth0', '10.91.1.2', '10.91.1.1');
  await reaches(shell, 'eth1', '10.91.2.2', '10.91.2.1');
  await reaches(shell, 'eth2', '10.91.3.2', '10.91.3.1');

  // what came while the guest's interface was down has not reached its driver: growth is compared
  for (const [id, dev, host] of [
    ['_net0', 'eth0', '10.91.1.1'],
    ['multi', 'eth2', '10.91.3.1'],
  ] as const) {
    // the two are not read at one moment: a frame between them is no fault
    await until(`${id} counts what its guest counts`, async () => {
      const [ours, theirs] = [(await countersOf(vmm))[id] ?? {}, await guestCounters(shell, dev)];
      await shell.run(`ping -c 3 -s 1000 -I ${dev} ${host}`);
      const grown = growth(ours, (await countersOf(vmm))[id] ?? {});
      assert.deepEqual(grown, growth(theirs, await guestCounters(shell, dev)));
      return (grown['rx_bytes'] ?? 0) > 3000 && (grown['tx_frames'] ?? 0) >= 3;
    });
  }

  // a second VM cannot have a TAP that is in use, nor one of another kind, and leaves nothing
  const refused: readonly (readonly [object, RegExp])[] = [
    [{ tap: named }, new RegExp(`net _net2: tap ${named}: is in use by another program`)],
    [{ tap: existing, num_queues: 4 }, /is in use by another program/],
    [{ tap: existing }, /was made with multi_queue/],
    [{ tap: named, num_queues: 4 }, /was made without multi_queue/],
    [{ tap: 'lo' }, /tap lo: is an interface of another kind, not a TAP/],
    [{ fd: [99] }, /fd 99 is no TAP of this process/],
  ];
  const taps = (): number => descriptorsOf(vmm.pid).filter((one) => one === '/dev/net/tun').length;
  const during = [interfaces(), taps()] as const;
  for (const [net, message] of refused) {
    const answer = await vmm.put('vm.add-net', net);
    assertStatus(answer, 500);
    assert.match(JSON.stringify(answer.json), message);
  }
  assert.deepEqual([interfaces(), taps()], during);

  // hot-plug: one more, which goes again with its TAP
  const added = await vmm.put('vm.add-net', { ip: '10.91.5.1', id: 'late' });
  assertStatus(added, 200);
  await until('the guest has it', async () => (await shell.run('ls /sys/class/net')).includes('eth3'));
  await reaches(shell, 'eth3', '10.91.5.2', '10.91.5.1');
  assertStatus(await vmm.put('vm.remove-device', { id: 'late' }), 204);
  await until('its TAP is gone', () => interfaces().length === during[0].length);

  // the guest's addresses stay over a reboot, and so does what is recorded of the host's
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  assert.deepEqual(await inGuest(), macs);
  assert.deepEqual(await netsOf(vmm), nets);
  // the TAP that stays goes on counting, the run begins at 0
  const counted = (await countersOf(vmm))['multi']?.['rx_bytes'] ?? Infinity;
  assert.ok(counted <= Number(attribute(existing, 'statistics/tx_bytes')) - 3000, String(counted));
  await reaches(shell, 'eth2', '10.91.3.2', '10.91.3.1');

  assertStatus(await vmm.put('vm.shutdown'), 204);
  assert.deepEqual(interfaces(), before);
  assert.equal(taps(), 0);

  // nothing is left of a VMM that was killed
  assertStatus(await vmm.put('vm.boot'), 204);
  assert.equal(interfaces().length, before.length + 2);
  vmm.kill('SIGKILL');
  await until('the TAPs are gone', () => interfaces().length === before.length);
  assert.deepEqual(addresses(existing), ['10.91.3.1/24']);
});

test('descriptors of the parent process, and networks without rights', async () => {
  const [cable, end, macvtap] = [interfaceName(), interfaceName(), interfaceName()];
  // the host cannot talk to a macvtap through the interface below it: it sits at the other end of a cable
  using _cable = withInterface(cable, 'link', 'add', cable, 'type', 'veth', 'peer', 'name', end);
  using _macvtap = withInterface(macvtap, 'link', 'add', 'link', cable, 'name', macvtap, 'type', 'macvtap');
  const mac = attribute(macvtap, 'address');
  ip('link', 'set', macvtap, 'up');
  ip('addr', 'add', '10.92.1.1/24', 'dev', end);
  for (const one of [cable, end]) ip('link', 'set', one, 'up');
  const tap = await openTap({
    name: undefined,
    ip: '10.92.2.1',
    mask: '255.255.255.0',
    hostMac: undefined,
    mtu: undefined,
    pairs: 2,
  });
  const macvtapFd = openSync(`/dev/tap${attribute(macvtap, 'ifindex')}`, 'r+');
  const port = await freePort();
  try {
    const [first = -1, second = -1] = tap.fds;
    await using vmm = await startVmm({ inherited: [first, second, macvtapFd] });
    using shell = await boot(
      vmm,
      guestConfig({
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
      }),
    );
    // as the kernel writes it: the address's bytes from the last to the first
    const listens = `0200007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    assert.ok(readFileSync('/proc/net/udp', 'utf8').includes(listens));
    // twice: they are there for the machine after a reboot too
    for (const restarts of [true, false]) {
      await reaches(shell, 'eth0', '10.92.2.2', '10.92.2.1');
      assert.equal(await shell.run('ls -d /sys/class/net/eth0/queues/rx-* | wc -l'), '2');
      const before = (await countersOf(vmm))['macvtap'];
      await reaches(shell, 'eth1', '10.92.1.2', '10.92.1.1');
      const grown = growth(before ?? {}, (await countersOf(vmm))['macvtap'] ?? {});
      assert.ok((grown['tx_frames'] ?? 0) >= 2 && (grown['rx_frames'] ?? 0) >= 2, JSON.stringify(grown));
      await shell.run('ip link set eth2 up; udhcpc -i eth2 -n -q -s /bin/true 2>&1');
      await reaches(shell, 'eth2', '10.92.3.15', '10.92.3.1');
      shell.type('echo hello from the guest | nc -l -p 7\r');
      await until('the forwarded port answers', async () => (await readFrom(port)).includes('hello from'));
      if (restarts) {
        assertStatus(await vmm.put('vm.reboot'), 204);
        await shell.login();
      }
    }
  } finally {
    closeSync(macvtapFd);
    tap.close();
  }
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** All that a port of this host sends until it closes. */
async function readFrom(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  let text = '';
  for await (const part of socket) text += String(part);
  return text;
}
