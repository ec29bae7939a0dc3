// Transfers between a program of the host and one in the guest, over vsock or over TCP on a TAP: the same programs for both.
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Shell } from '../tests/support/shell.ts';
import { withBusiestThread } from './thread-time.ts';

const MIB = 2 ** 20;

/** Addresses of the TAP and of the guest. */
export const HOST = '192.168.231.1';
export const GUEST = '192.168.231.2';

/** Bytes of a bulk transfer, messages of a round of round trips, bytes of a message. */
export const BULK = 96 * MIB;
const TRIPS = 2000;
export const MESSAGE = 64;

/** Most bytes of a read in the guest, where a run has no size of its own. */
const READ = 64 * 1024;

/** Program in the guest, for both kinds of socket: connects, then sends, receives or sends back. */
export const PROGRAM = `
my ($kind, $mode, $port, $bytes, $buffer, $read) = @ARGV;
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
  while (($n = sysread(S, $b, $read)) > 0) { $sum += $n; }
  syswrite(S, "$sum");
} elsif ($mode eq 'check') {
  my $all = join('', map { chr($_ % 251) } 0 .. 65535) x 2; my ($sum, $bad) = (0, 0);
  while (($n = sysread(S, $b, 65536)) > 0) { $bad++ if $b ne substr($all, $sum & 65535, $n); $sum += $n; }
  syswrite(S, "$sum $bad");
} else {
  while (($n = sysread(S, $b, 65536)) > 0) { syswrite(S, $b, $n); }
}
`;

export type Kind = 'vsock' | 'tcp';
export type Mode = 'send' | 'receive' | 'echo' | 'check';

/** Task of the program in the guest. */
export interface Run {
  readonly kind: Kind;
  readonly mode: Mode;
  /** number of bytes to send */
  readonly bytes: number;
  /** receive buffer, 0 for the default, in `bytes` */
  readonly buffer: number;
  /** most bytes of a read in the guest; 64 KiB where it is absent */
  readonly read?: number;
}

export interface Guest {
  /** process of QEMU */
  readonly pid: number;
  readonly shell: Shell;
  readonly program: string;
  readonly path: string;
}

let nextPort = 5000;

/** Returns MB/s, or round trips per second. */
export async function measure(guest: Omit<Guest, 'pid'>, run: Run): Promise<number> {
  return withGuest(guest, run, (socket) => transfer(socket, run));
}

/** The same, with the vCPU's time from the connection on: the start of the program in the guest is no part of it. */
export function measureTime(guest: Guest, run: Run): Promise<{ result: number; busiestMs: number }> {
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

/** Runs the program in the guest with a socket of the host. */
export async function withGuest<T>(
  { shell, program, path }: Omit<Guest, 'pid'>,
  { kind, mode, bytes, buffer, read = READ }: Run,
  use: (socket: Socket) => Promise<T>,
): Promise<T> {
  const port = nextPort++;
  const server = await listen(kind === 'vsock' ? { path: `${path}_${port}` } : { host: HOST, port });
  const connected = once(server, 'connection');
  const done = shell.run(`perl ${program} ${kind} ${mode} ${port} ${bytes} ${buffer} ${read}`);
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
export async function drain(socket: Socket, take: (bytes: Buffer) => void = () => undefined): Promise<void> {
  socket.on('data', take);
  await once(socket, 'end');
}

/** Writes `bytes` bytes and returns the peer's answer. */
export async function feed(socket: Socket, part: Buffer, bytes: number): Promise<string> {
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
