import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { interfaceName, ip, withInterface } from '../tests/support/host-network.ts';
import { putProgram } from '../tests/support/vsock.ts';
import {
  CLOCK,
  compare,
  report,
  SECONDS,
  startNephos,
  startQemu,
  type Figures,
  type Guest,
} from './io-guests.ts';

/** Sends or receives for a time and prints MB/s. Bytes that the peer has read count, not those in a buffer. */
const PROGRAM = `${CLOCK}
my ($mode, $host, $port) = @ARGV;
socket(S, 2, 1, 6) or die "socket: $!";
connect(S, pack("SnC4x8", 2, $port, split(/\\./, $host))) or die "connect: $!";
my ($sum, $n, $start, $end, $b) = (0, 0, now(), 0, "\\1" x 65536);
do {
  $n = $mode eq 'send' ? syswrite(S, $b, 65536) : sysread(S, $b, 65536);
  $n > 0 or die "$mode: $!";
  $sum += $n;
} until (($end = now()) - $start >= ${SECONDS});
if ($mode eq 'send') { shutdown(S, 1); sysread(S, $b, 1); $end = now(); }
print $sum / ($end - $start) / 1e6, "\\n";
`;

interface Side {
  readonly guest: Guest;
  readonly program: string;
  /** address of the TAP on the host */
  readonly host: string;
}

/** Measures a TCP stream over a TAP in both directions, as iperf does. */
export async function measureNet(rounds: number): Promise<void> {
  const [own, others] = ['10.97.1.1', '10.97.2.1'] as const;
  const tap = interfaceName();
  using _tap = withInterface(tap, 'tuntap', 'add', 'dev', tap, 'mode', 'tap');
  ip('addr', 'add', `${others}/24`, 'dev', tap);
  ip('link', 'set', tap, 'up');
  await using ours = await startNephos({ net: [{ ip: own }] });
  await using theirs = await startQemu([
    ...['-netdev', `tap,id=n,ifname=${tap},script=no,downscript=no`],
    ...['-device', 'virtio-net-pci,netdev=n,disable-legacy=on,romfile='],
  ]);
  const figures: Figures = new Map();
  const sides = [await withProgram(ours, own), await withProgram(theirs, others)] as const;
  for (const [name, mode] of [
    ['tap: host to guest, MB/s', 'receive'],
    ['tap: guest to host, MB/s', 'send'],
  ] as const) {
    await compare(sides, (side: Side) => perSecond(side, mode), { figures, name, rounds });
  }
  report(figures);
}

async function withProgram(guest: Guest, host: string): Promise<Side> {
  await guest.shell.run(`ip addr add ${host.replace(/1$/, '2')}/24 dev eth0; ip link set eth0 up`);
  return { guest, host, program: await putProgram(guest.shell, 'net', PROGRAM) };
}

async function perSecond({ guest, program, host }: Side, mode: 'send' | 'receive'): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, mode === 'send' ? drain : feed);
  const port = await listen(server, host);
  const shown = await guest.shell.run(`perl ${program} ${mode} ${host} ${port}`);
  server.close();
  if (!/^[\d.]+$/.test(shown)) throw new Error(`${mode}: ${shown}`);
  return Number(shown);
}

async function listen(server: Server, host: string): Promise<number> {
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Reads all bytes, then closes. */
function drain(socket: Socket): void {
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end());
  socket.resume();
}

/** Sends until the peer closes. */
function feed(socket: Socket): void {
  const part = Buffer.alloc(65_536);
  const fill = (): void => {
    while (!socket.destroyed && socket.write(part));
  };
  // the peer closes with a reset, because there always is unread data
  socket.on('error', () => socket.destroy());
  socket.on('drain', fill);
  fill();
}
