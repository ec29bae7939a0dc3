// Rate limits of networks, measured in the guest as ratios to a network without limits.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { createAndBoot, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { interfaceName, interfaces, ip, tc, withInterface } from './support/host-network.ts';
import type { Shell } from './support/shell.ts';
import { startVmm } from './support/vmm.ts';
import { putProgram } from './support/vsock.ts';
import { until } from './support/wait.ts';

const MB = 1e6;
/** 2 MB/s, of which 200 kB may come at once, and 4 MB once */
const BANDWIDTH = { size: 0.2 * MB, one_time_burst: 4 * MB, refill_time: 100 };
/** 100 frames a second, of which 50 may come at once, and 200 once */
const OPS = { size: 50, one_time_burst: 200, refill_time: 500 };

test('rate limits of networks', async () => {
  const stays = interfaceName();
  const before = interfaces();
  using _stays = withInterface(stays, 'tuntap', 'add', 'dev', stays, 'mode', 'tap');
  ip('addr', 'add', '10.93.3.1/24', 'dev', stays);
  const config = guestConfig(
    {
      net: [
        { ip: '10.93.1.1', queue_size: 1024 },
        { ip: '10.93.2.1', rate_limiter_config: { bandwidth: BANDWIDTH } },
        { tap: stays, rate_limiter_config: { ops: OPS } },
        { ip: '10.93.4.1', rate_limiter_config: { bandwidth: BANDWIDTH, ops: OPS } },
      ],
    },
    { tools: true },
  );
  {
    await using vmm = await startVmm();
    await createAndBoot(vmm, config);
    using shell = await login(vmm);
    for (const i of [1, 2, 3, 4]) {
      await shell.run(`ip addr add 10.93.${i}.2/24 dev eth${i - 1}; ip link set eth${i - 1} up`);
      await shell.run(`ping -c 1 -W 20 10.93.${i}.1`);
    }
    assert.deepEqual([await rings(shell, 'eth0'), await rings(shell, 'eth1')], ['1024 256', '256 256']);
    for (const way of [send, receive]) await checkBandwidth(shell, way);
    for (const way of [datagramsFrom, datagramsTo]) await checkOps(shell, way);

    const foreign = interfaceName();
    using _foreign = withInterface(foreign, 'tuntap', 'add', 'dev', foreign, 'mode', 'tap');
    tc('qdisc', 'add', 'dev', foreign, 'root', 'pfifo');
    const answer = await vmm.put('vm.add-net', { tap: foreign, rate_limiter_config: { ops: OPS } });
    assertRefused(answer, 500, /rate_limiter_config: tc qdisc add: .* queueing discipline of its own/);
    assert.deepEqual(helpersOf(foreign), []);
    assert.match(ip('link', 'show', foreign), /qdisc pfifo /);

    // the interface has no limit any more, and the interfaces that the VMM made are removed
    const helpers = helpersOf(stays);
    assert.equal(helpers.length, 1);
    assertStatus(await vmm.put('vm.shutdown'), 204);
    assert.deepEqual(helpersOf(stays), []);
    assert.doesNotMatch(ip('link', 'show', stays), /qdisc tbf/);
    assertStatus(await vmm.put('vm.boot'), 204);
    assert.match(ip('link', 'show', stays), /qdisc tbf/);
    assert.deepEqual(helpersOf(stays), helpers);
  }
  await until(
    'the TAPs of the killed VMM are gone',
    () => !interfaces().some((one) => one.startsWith('vmtap') && !before.includes(one)),
  );
  // that VMM was killed: the next one removes the interfaces that it left
  assert.match(ip('link', 'show', stays), /qdisc tbf/);
  await using next = await startVmm();
  await createAndBoot(next, guestConfig({ net: [{ tap: stays }] }));
  assert.doesNotMatch(ip('link', 'show', stays), /qdisc tbf/);
  assert.deepEqual(
    interfaces().filter((one) => one.startsWith('nphl-') && !before.includes(one)),
    [],
  );
});

/** Asks a driver for its rings' lengths (SIOCETHTOOL, ETHTOOL_GRINGPARAM), for which busybox has no tool. */
const RINGS = `
socket(S, 2, 2, 0) or die "socket: $!";
my $rings = pack("L9", 0x10, (0) x 8);
my $request = pack("a16Px16", $ARGV[0], $rings);
ioctl(S, 0x8946, $request) or die "ioctl: $!";
print join(' ', (unpack("L9", $rings))[1, 4]), "\\n";
`;

/** Returns the numbers of descriptors of the receive and the transmit ring. */
async function rings(shell: Shell, dev: string): Promise<string> {
  return shell.run(`perl ${await putProgram(shell, `rings-${dev}`, RINGS)} ${dev}`);
}

/** Helper interface, which limits the frames that the guest sends. */
function helpersOf(tap: string): string[] {
  const name = `nphl-${createHash('sha256').update(tap).digest('hex').slice(0, 10)}`;
  return interfaces().filter((one) => one === name);
}

type Transfer = (shell: Shell, host: string, bytes: number) => Promise<number>;

/** Seconds are compared within this run: how fast the machine is does not matter, as long as it is faster. */
async function checkBandwidth(shell: Shell, way: Transfer): Promise<void> {
  const free = await way(shell, '10.93.1.1', 4 * MB);
  const burst = await way(shell, '10.93.2.1', 4 * MB);
  // ends the burst, also where part of it is unused
  await way(shell, '10.93.2.1', MB);
  const short = await way(shell, '10.93.2.1', MB);
  const long = await way(shell, '10.93.2.1', 7 * MB);
  const rate = 6 / (long - short);
  const seen = `${way.name}: ${JSON.stringify({ free, burst, short, long, rate })}`;
  assert.ok(rate > 1.6 && rate < 2.4, seen);
  assert.ok(burst < 1.5 * free + 1, seen);
  assert.ok(long / 7 > (2 * free) / 4, seen);
}

type Flood = (shell: Shell, net: number) => Promise<number>;

async function checkOps(shell: Shell, flood: Flood): Promise<void> {
  const free = await flood(shell, 1);
  const [first, later] = [await flood(shell, 3), await flood(shell, 3)];
  const both = await flood(shell, 4);
  const seen = `${flood.name}: ${JSON.stringify({ free, first, later, both })}`;
  // in two seconds, plus the frames that were in a queue
  assert.ok(later > 150 && later < 350, seen);
  assert.ok(first > later + 100 && both < 600, seen);
  assert.ok(free > 3 * later, seen);
}

/** Seconds in which the guest sends `bytes`. */
const send = async (shell: Shell, host: string, bytes: number): Promise<number> =>
  transfer(
    host,
    async (at) => shell.run(`socat -u -b 65536 OPEN:/dev/zero,readbytes=${bytes} TCP:${at}`),
    (socket) => {
      socket.resume();
    },
  );

/** Seconds in which the guest receives `bytes`. */
const receive = async (shell: Shell, host: string, bytes: number): Promise<number> =>
  transfer(
    host,
    async (at) => shell.run(`socat -u -b 65536 TCP:${at} OPEN:/dev/null`),
    (socket) => {
      socket.resume();
      socket.end(Buffer.alloc(bytes));
    },
  );

/** Seconds from the connection until all bytes have arrived. */
async function transfer(
  host: string,
  run: (at: string) => Promise<unknown>,
  serve: (socket: Socket) => void,
): Promise<number> {
  let begin = Number.NaN;
  let closed = false;
  const server = createServer((socket) => {
    begin = performance.now();
    socket.on('close', () => (closed = true));
    serve(socket);
  }).listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  await run(`${host}:${typeof address === 'object' && address !== null ? address.port : 0}`);
  // a guest's program ends when its kernel has taken all, not when all has been sent
  await until('all has arrived', () => closed);
  const seconds = (performance.now() - begin) / 1000;
  server.close();
  await once(server, 'close');
  return seconds;
}

/** Number of frames that the guest sends within two seconds. */
async function datagramsFrom(shell: Shell, net: number): Promise<number> {
  const socket = createSocket('udp4').bind(0, `10.93.${net}.1`);
  await once(socket, 'listening');
  const times: number[] = [];
  socket.on('message', () => times.push(performance.now()));
  await shell.run(`timeout 3 socat -u -b 64 OPEN:/dev/zero UDP:10.93.${net}.1:${socket.address().port}`);
  socket.close();
  const [begin = 0] = times;
  return times.filter((one) => one - begin <= 2000).length;
}

/** Number of frames that the guest receives of a flood of two seconds. */
async function datagramsTo(shell: Shell, net: number): Promise<number> {
  const received = `cat /sys/class/net/eth${net - 1}/statistics/rx_packets`;
  const before = Number(await shell.run(received));
  const socket = createSocket('udp4');
  const end = performance.now() + 2000;
  while (performance.now() < end) {
    for (let i = 0; i < 20; i++) socket.send('x', 9, `10.93.${net}.2`);
    await delay(10);
  }
  socket.close();
  return Number(await shell.run(received)) - before;
}
