// vsock beside TCP over a TAP: the same programs on both sides, in the same VM, in turns.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { guestConfig } from '../tests/support/guest.ts';
import { qemuOf } from '../tests/support/processes.ts';
import { openShell, type Shell } from '../tests/support/shell.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { putProgram } from '../tests/support/vsock.ts';
import { idleShare } from './idle.ts';
import { medianRatio } from './pairs.ts';
import { median, printRow, type Row } from './table.ts';
import { traceDriver } from './vsock-trace.ts';
import { withBusiestThread } from './thread-time.ts';

const MIB = 2 ** 20;
const HOST = '192.168.231.1';
const GUEST = '192.168.231.2';

/** Bytes of a bulk transfer, bytes of the traced one, messages of a round of round trips, bytes of a message. */
export const BULK = 96 * MIB;
const TRACED = 24 * MIB;
const TRIPS = 2000;
const MESSAGE = 64;

/**
 * Receive buffer that a reader in the guest requests for its vsock, in `bytes`. Linux has 256 KiB by default and does not change
 * it; the buffer of a TCP socket grows up to 6 MiB.
 */
const RECEIVE_BUFFER = 2 * MIB;

/** Rounds before the measurement: QEMU translates the guest's code, and V8 that of the VMM, on first use. */
const WARM_UP = 2;

/** Program in the guest, for both kinds of socket: connects, then sends, receives or sends back. */
export const PROGRAM = `
my ($kind, $mode, $port, $bytes, $buffer) = @ARGV;
if ($kind eq 'vsock') {
  socket(S, 40, 1, 0) or die "socket: $!";
  # the maximum, then the size (SO_VM_SOCKETS_BUFFER_MAX_SIZE and _SIZE)
  for my $option ($buffer ? (2, 0) : ()) { setsockopt(S, 40, $option, pack("Q", $buffer)) or die "setsockopt: $!"; }
  connect(S, pack("SSLLL", 40, 0, $port, 2, 0)) or die "connect: $!";
} else {
  socket(S, 2, 1, 6) or die "socket: $!";
  setsockopt(S, 6, 1, pack("l", 1));
  connect(S, pack("SnC4x8", 2, $port, split(/\\./, '${HOST}'))) or die "connect: $!";
}
my ($b, $n);
if ($mode eq 'send') {
  $b = join('', map { chr($_ % 251) } 0 .. 65535);
  while ($bytes > 0) { $n = syswrite(S, $b, 65536) or die "write: $!"; $bytes -= $n; }
  shutdown(S, 1); sysread(S, $b, 1);
} elsif ($mode eq 'receive') {
  my $sum = 0;
  while (($n = sysread(S, $b, 65536)) > 0) { $sum += $n; }
  syswrite(S, "$sum");
} elsif ($mode eq 'check') {
  my $all = join('', map { chr($_ % 251) } 0 .. 65535) x 2; my ($sum, $bad) = (0, 0);
  while (($n = sysread(S, $b, 65536)) > 0) { $bad++ if $b ne substr($all, $sum & 65535, $n); $sum += $n; }
  syswrite(S, "$sum $bad");
} else {
  while (($n = sysread(S, $b, 65536)) > 0) { syswrite(S, $b, $n); }
}
`;

type Kind = 'vsock' | 'tcp';
const KINDS: readonly Kind[] = ['vsock', 'tcp'];
type Mode = 'send' | 'receive' | 'echo' | 'check';

/** Task of the program in the guest. */
export interface Run {
  readonly kind: Kind;
  readonly mode: Mode;
  /** number of bytes to send */
  readonly bytes: number;
  /** receive buffer, 0 for the default, in `bytes` */
  readonly buffer: number;
}

export interface Guest {
  /** process of QEMU */
  readonly pid: number;
  readonly shell: Shell;
  readonly program: string;
  readonly path: string;
}

/** `npm run bench -- vsock [rounds]` */
export async function benchVsock([rounds = '9']: readonly string[]): Promise<void> {
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
  const idle = `${(await idleShare(vmm.pid)).toFixed(2)} %`;
  printRow({ what: 'vsock: of a core in the VMM of an idle VM', ours: idle, must: '< 0.5 %' });
  await compare(guest, Number(rounds));
  await traceDriver(shell, () =>
    withGuest(guest, { kind: 'vsock', mode: 'receive', bytes: 0, buffer: 0 }, (socket) =>
      feed(socket, Buffer.alloc(65_536), TRACED),
    ),
  );
  await gibibyte(guest, vmm);
}

async function compare(guest: Guest, rounds: number): Promise<void> {
  const rows: readonly (readonly [string, Mode, number])[] = [
    [`host to guest, ${RECEIVE_BUFFER / MIB} MiB buffer, MB/s`, 'receive', RECEIVE_BUFFER],
    ['host to guest, default buffer, MB/s', 'receive', 0],
    ['guest to host, MB/s', 'send', 0],
    [`${MESSAGE}-byte round trips, /s`, 'echo', 0],
  ];
  for (const [name, mode, buffer] of rows) {
    const results: Record<Kind, number[]> = { vsock: [], tcp: [] };
    const times: Record<Kind, number[]> = { vsock: [], tcp: [] };
    for (let round = -WARM_UP; round < rounds; round++) {
      for (const kind of round % 2 === 0 ? KINDS : KINDS.toReversed()) {
        const run = { kind, mode, bytes: BULK, buffer };
        const { result, busiestMs } = await measureTime(guest, run);
        if (round < 0) continue;
        results[kind].push(result);
        times[kind].push(busiestMs);
      }
    }
    reportMedians({ what: `vsock: ${name}`, must: '>= 1.00' }, results);
    // the busiest thread is a vCPU: the guest cannot receive faster than this allows
    if (mode === 'receive') reportMedians({ what: 'vsock: vCPU time of it, ms' }, times);
  }
}

function reportMedians(row: Pick<Row, 'what' | 'must'>, { vsock, tcp }: Record<Kind, number[]>): void {
  const [ours, reference] = [median(vsock), median(tcp)];
  printRow({
    ...row,
    ours: ours.toFixed(0),
    reference: ['TCP', reference.toFixed(0)],
    ratio: medianRatio(vsock, tcp),
  });
}

let nextPort = 5000;

/** Returns MB/s, or round trips per second. */
export async function measure(guest: Omit<Guest, 'pid'>, run: Run): Promise<number> {
  return withGuest(guest, run, (socket) => transfer(socket, run));
}

/** The same, with the vCPU's time from the connection on: the start of the program in the guest is no part of it. */
function measureTime(guest: Guest, run: Run): Promise<{ result: number; busiestMs: number }> {
  return withGuest(guest, run, (socket) => withBusiestThread(guest.pid, () => transfer(socket, run)));
}

async function transfer(socket: Socket, { mode }: Run): Promise<number> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  if (mode === 'echo') {
    await pingPong(socket);
    return TRIPS / seconds();
  }
  if (mode === 'send') await drain(socket);
  else await feed(socket, Buffer.alloc(65_536), BULK);
  return BULK / 1e6 / seconds();
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

/** Runs the program in the guest with a socket of the host. */
async function withGuest<T>(
  { shell, program, path }: Omit<Guest, 'pid'>,
  { kind, mode, bytes, buffer }: Run,
  use: (socket: Socket) => Promise<T>,
): Promise<T> {
  const port = nextPort++;
  const server = await listen(kind === 'vsock' ? { path: `${path}_${port}` } : { host: HOST, port });
  const connected = once(server, 'connection');
  const done = shell.run(`perl ${program} ${kind} ${mode} ${port} ${bytes} ${buffer}`);
  const [socket]: Socket[] = await connected;
  if (socket === undefined) throw new Error('no connection');
  socket.setNoDelay(true);
  const result = await use(socket);
  socket.end();
  await done;
  server.close();
  return result;
}

async function listen(where: { path: string } | { host: string; port: number }): Promise<Server> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(where);
  await once(server, 'listening');
  return server;
}

/** Reads until the end of the stream. */
async function drain(socket: Socket, take: (bytes: Buffer) => void = () => undefined): Promise<void> {
  socket.on('data', take);
  await once(socket, 'end');
}

/** Writes `bytes` bytes and returns the peer's answer. */
async function feed(socket: Socket, part: Buffer, bytes: number): Promise<string> {
  let word = '';
  socket.on('data', (got: Buffer) => (word += got.toString()));
  const end = once(socket, 'end');
  for (let left = bytes; left > 0; left -= part.length) if (!socket.write(part)) await once(socket, 'drain');
  socket.end();
  await end;
  return word;
}

async function pingPong(socket: Socket): Promise<void> {
  const message = Buffer.alloc(MESSAGE, 1);
  let got = 0;
  let trips = 0;
  const done = new Promise<void>((resolve) => {
    socket.on('data', (bytes: Buffer) => {
      got += bytes.length;
      if (got < MESSAGE * (trips + 1)) return;
      if (++trips === TRIPS) resolve();
      else socket.write(message);
    });
  });
  socket.write(message);
  await done;
}
