// vsock beside TCP over a TAP: the same programs on both sides, in the same VM, in turns.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { guestConfig } from '../tests/support/guest.ts';
import { qemuOf } from '../tests/support/processes.ts';
import { openShell } from '../tests/support/shell.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { putProgram } from '../tests/support/vsock.ts';
import { idleShare } from './idle.ts';
import { medianRatio } from './pairs.ts';
import { median, printRow, type Row } from './table.ts';
import { traceDriver } from './vsock-trace.ts';
import {
  BULK,
  drain,
  feed,
  GUEST,
  HOST,
  measureTime,
  MESSAGE,
  PROGRAM,
  withGuest,
  type Guest,
  type Kind,
  type Run,
} from './vsock-traffic.ts';

const KIB = 2 ** 10;
const MIB = 2 ** 20;

const KINDS: readonly Kind[] = ['vsock', 'tcp'];

/** Bytes of the traced transfer. */
const TRACED = 24 * MIB;

/**
 * Receive buffer that a reader in the guest requests for its vsock, in `bytes`. Linux has 256 KiB by default and does not change
 * it; the buffer of a TCP socket grows up to 6 MiB.
 */
const RECEIVE_BUFFER = 2 * MIB;

/** Rounds before the measurement: QEMU translates the guest's code, and V8 that of the VMM, on first use. */
const WARM_UP = 2;

/** Sizes of reads in the guest, in `KiB`: socat reads 8, Go's io.Copy 32, many programs 64, cat 128. */
const READS = '8,32,64,128';

/** `npm run bench -- vsock [rounds] [most KiB of a read in the guest, ...]`. With sizes, only these reads are measured. */
export async function benchVsock([rounds = '7', sizes]: readonly string[]): Promise<void> {
  await using vmm = await startVmm();
  const path = join(vmm.folder, 'vsock');
  const config = guestConfig(
    { vsock: { cid: 3, socket: path }, net: [{ ip: HOST, mask: '255.255.255.0' }] },
    { tools: true },
  );
  for (const [route, body] of [['vm.create', config], ['vm.boot']] as const) {
    const { status, json } = await vmm.put(route, body);
    if (status !== 204) throw new Error(`${route}: ${JSON.stringify(json)}`);
  }
  using shell = openShell(await ptyOf(vmm));
  await shell.login();
  await shell.run(`ip link set eth0 up; ip addr add ${GUEST}/24 dev eth0`);
  const guest = { pid: qemuOf(vmm.pid), shell, path, program: await putProgram(shell, 'traffic', PROGRAM) };
  const reads = (sizes ?? READS).split(',').map((kib) => Number(kib) * KIB);
  if (sizes === undefined) {
    const idle = `${(await idleShare(vmm.pid)).toFixed(2)} %`;
    printRow({ what: 'vsock: of a core in the VMM of an idle VM', ours: idle, must: '< 0.5 %' });
    for (const work of WORKS) await compare(guest, Number(rounds), work);
  }
  for (const read of reads) await compare(guest, Number(rounds), readsOf(read));
  for (const read of reads) await trace(guest, read);
  if (sizes === undefined) await gibibyte(guest, vmm);
}

interface Work extends Omit<Run, 'kind' | 'bytes'> {
  readonly name: string;
  readonly must: string;
}

const WORKS: readonly Work[] = [
  { name: `${MESSAGE}-byte round trips, /s`, mode: 'echo', buffer: 0, must: '>= 1.00' },
  { name: 'guest to host, MB/s', mode: 'send', buffer: 0, must: '>= 1.00' },
  {
    name: `host to guest, ${RECEIVE_BUFFER / MIB} MiB buffer, MB/s`,
    mode: 'receive',
    buffer: RECEIVE_BUFFER,
    must: '>= 0.90',
  },
];

function readsOf(read: number): Work {
  const name = `host to guest, reads of ${read / KIB} KiB, MB/s`;
  return { name, mode: 'receive', buffer: 0, read, must: '>= 0.90' };
}

type Results = Record<Kind, number[]>;

/** Measures a work with both kinds of socket, in turns. */
async function compare(guest: Guest, rounds: number, work: Work): Promise<void> {
  const results: Results = { vsock: [], tcp: [] };
  const times: Results = { vsock: [], tcp: [] };
  for (let round = -WARM_UP; round < rounds; round++) {
    for (const kind of round % 2 === 0 ? KINDS : KINDS.toReversed()) {
      const { result, busiestMs } = await measureTime(guest, { ...work, kind, bytes: BULK });
      if (round < 0) continue;
      results[kind].push(result);
      times[kind].push(busiestMs);
    }
  }
  const load = loadavg()[0] ?? NaN;
  reportMedians({ what: `vsock: ${work.name}`, must: work.must, note: `load ${load.toFixed(1)}` }, results);
  if (work.mode !== 'receive') return;
  reportMedians({ what: 'vsock: vCPU time of it, ms' }, times);
  // the busiest thread is the only vCPU: the guest cannot receive faster than its time allows
  const most = times.vsock.map((ms) => BULK / 1e3 / ms);
  reportMedians({ what: 'vsock: most that its vCPU time allows, MB/s' }, { vsock: most, tcp: results.tcp });
}

function trace({ shell, ...guest }: Guest, read: number): Promise<void> {
  const run: Run = { kind: 'vsock', mode: 'receive', bytes: 0, buffer: 0, read };
  return traceDriver(shell, `reads of ${read / KIB} KiB`, () =>
    withGuest({ shell, ...guest }, run, (socket) => feed(socket, Buffer.alloc(64 * KIB), TRACED)),
  );
}

function reportMedians(row: Omit<Row, 'ours'>, { vsock, tcp }: Results): void {
  const [ours, reference] = [median(vsock), median(tcp)];
  printRow({
    ...row,
    ours: ours.toFixed(0),
    reference: ['TCP', reference.toFixed(0)],
    ratio: medianRatio(vsock, tcp),
  });
}

/** Transfers a gibibyte in each direction; checks the bytes and the memory of the VMM. */
async function gibibyte(guest: Guest, vmm: TestVmm): Promise<void> {
  const total = 1024 * MIB;
  const pattern = Buffer.from(Array.from({ length: 65_536 }, (_, i) => i % 251));
  const hash = createHash('md5');
  for (let left = total; left > 0; left -= pattern.length) hash.update(pattern);
  const expected = hash.digest('hex');
  // the guest compares every byte with the pattern
  const there = await withGuest(guest, { kind: 'vsock', mode: 'check', bytes: 0, buffer: 0 }, (socket) =>
    feed(socket, pattern, total),
  );
  const back = createHash('md5');
  const run: Run = { kind: 'vsock', mode: 'send', bytes: total, buffer: 0 };
  await withGuest(guest, run, (socket) => drain(socket, (bytes) => back.update(bytes)));
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${vmm.pid}/status`, 'utf8'))?.[1];
  const right = (whole: boolean): string => (whole ? 'right' : 'WRONG');
  printRow({
    what: 'vsock: bytes of 1 GiB, host to guest',
    ours: right(there === `${total} 0`),
    must: 'right',
  });
  printRow({
    what: 'vsock: checksum of 1 GiB, guest to host',
    ours: right(back.digest('hex') === expected),
    must: 'right',
  });
  printRow({
    what: 'vsock: peak RSS of the VMM',
    ours: `${(Number(peak) / 1024).toFixed(0)} MiB`,
    must: '< 150',
  });
}
