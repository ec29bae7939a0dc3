// Live snapshots: the pause of the guest as the host sees it, in a stream of datagrams that the guest sends each millisecond.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { boot } from '../tests/support/boot.ts';
import { interfaceName } from '../tests/support/host-network.ts';
import { takeLive } from '../tests/support/live/live-snapshot.ts';
import type { Shell } from '../tests/support/shell.ts';
import { startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { medianOf } from './pairs.ts';
import { printRow } from './table.ts';

const MIB = 2 ** 20;
const RAM_MIB = 4096;
const TOUCHED_MIB = 256;
/** RAM that the guest writes between two snapshots of the second row. */
const WRITTEN_MIB = 64;
const HOST = '10.91.79.1';
const PORT = 9079;

/** Sends a datagram each millisecond. */
const SENDER = String.raw`perl -e 'socket(S, 2, 2, 17); $to = pack("S n C4 x8", 2, ${PORT}, ${HOST.replaceAll('.', ', ')}); while (1) { send(S, "x", 0, $to); select(undef, undef, undef, 0.001) }'`;

/** Times between datagrams. */
interface Gaps {
  /** Returns the longest time since the last call, in milliseconds. */
  readonly take: () => number;
}

/** `npm run bench -- snapshot-live [rounds]`. */
export async function benchSnapshotLive([rounds = '20']: readonly string[]): Promise<void> {
  // not in a tmpfs
  const home = mkdtempSync(join(process.cwd(), 'build', 'bench-live-'));
  const receiver = createSocket('udp4');
  try {
    await using vmm = await startVmm();
    using shell = await boot(
      vmm,
      {
        memory: { size: RAM_MIB * MIB },
        net: [{ tap: interfaceName(), ip: HOST, mask: '255.255.255.0' }],
      },
      { tools: true },
    );
    await prepareGuest(shell);
    const gaps = await receive(receiver);
    await measure(`${RAM_MIB} MiB, idle`, {
      vmm,
      home,
      gaps,
      rounds: Number(rounds),
      act: async () => undefined,
    });
    const write = `cat /m/1 >/m/2`;
    const act = async (): Promise<void> => void (await shell.run(write));
    const what = `${RAM_MIB} MiB, ${WRITTEN_MIB} MiB written before`;
    await measure(what, { vmm, home, gaps, rounds: Math.ceil(Number(rounds) / 4), act });
  } finally {
    receiver.close();
    rmSync(home, { recursive: true, force: true });
  }
}

async function prepareGuest(shell: Shell): Promise<void> {
  await shell.run('ip addr add 10.91.79.2/24 dev eth0; ip link set eth0 up');
  await shell.run(
    `mkdir /m; mount -t tmpfs -o size=90% m /m; dd if=/dev/urandom of=/m/1 bs=1M count=${WRITTEN_MIB}`,
  );
  const files = Array.from({ length: TOUCHED_MIB / WRITTEN_MIB - 1 }, (_, i) => i + 2);
  await shell.run(`for i in ${files.join(' ')}; do cat /m/1 > /m/$i; done`);
  await shell.run(`(${SENDER}) </dev/null >/dev/null 2>&1 & true`);
}

async function receive(socket: Socket): Promise<Gaps> {
  let [last, longest] = [performance.now(), 0];
  socket.on('message', () => {
    const now = performance.now();
    [longest, last] = [Math.max(longest, now - last), now];
  });
  socket.bind(PORT, HOST);
  await once(socket, 'message');
  return {
    take: () => {
      const gap = longest;
      longest = 0;
      return gap;
    },
  };
}

interface Measured {
  readonly vmm: TestVmm;
  readonly home: string;
  readonly gaps: Gaps;
  readonly rounds: number;
  /** action of the guest before each snapshot */
  readonly act: () => Promise<void>;
}

/** Measures snapshots, and as much time without one after each. */
async function measure(what: string, { vmm, home, gaps, rounds, act }: Measured): Promise<void> {
  const [seen, reported, without]: [number[], number[], number[]] = [[], [], []];
  const methods = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    await act();
    const folder = join(home, 'live');
    gaps.take();
    const begun = performance.now();
    const { method, pause_ms: pause } = await takeLive(vmm, folder);
    const took = performance.now() - begun;
    seen.push(gaps.take());
    reported.push(pause);
    methods.add(method);
    rmSync(folder, { recursive: true });
    await delay(took / 2);
    gaps.take();
    await delay(took);
    without.push(gaps.take());
  }
  printRow({
    what: `pause of a live snapshot, ${what}`,
    ours: inTenths(medianOf(seen)),
    reference: ['longest gap without', inTenths(medianOf(without))],
    must: '<= 30 ms',
    note: `by ${[...methods].join(' or ')}, pause_ms ${inTenths(medianOf(reported))}, load ${loadavg()[0]?.toFixed(1)}`,
  });
}

function inTenths(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}
