import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Shell } from './shell.ts';

/**
 * A program in the guest that listens on a vsock port and echoes the bytes of all connections, in one process.
 * A connection whose peer has shut down is closed when all of its bytes are echoed.
 */
const ECHO = `
my ($port) = @ARGV;
socket(L, 40, 1, 0) or die "socket: $!";
bind(L, pack("SSLLL", 40, 0, $port, 0xffffffff, 0)) or die "bind: $!";
listen(L, 1024) or die "listen: $!";
$| = 1; print "ready\\n";
my %all; my $set = ''; vec($set, fileno(L), 1) = 1;
while (select(my $ready = $set, undef, undef, undef) > 0) {
  for my $fd (grep { vec($ready, $_, 1) } 0 .. 8 * length($ready) - 1) {
    if ($fd == fileno(L)) { accept(my $c, L) or next; $all{fileno($c)} = $c; vec($set, fileno($c), 1) = 1; next; }
    my $c = $all{$fd}; my $n = sysread($c, my $b, 65536); my $at = 0;
    while ($n && $at < $n) { my $w = syswrite($c, $b, $n - $at, $at); last unless $w; $at += $w; }
    if (!$n) { vec($set, $fd, 1) = 0; delete $all{$fd}; close($c); }
  }
}
`;

/** Puts a perl program into the guest and returns its path. */
export async function putProgram(shell: Shell, name: string, text: string): Promise<string> {
  const path = `/tmp/${name}.pl`;
  // a line that is typed has 4095 bytes at most
  const parts =
    Buffer.from(text)
      .toString('base64')
      .match(/.{1,2000}/g) ?? [];
  for (const part of parts) await shell.run(`echo ${part} >>${path}.base64`);
  await shell.run(`base64 -d ${path}.base64 >${path}`);
  return path;
}

/** Starts the echo program on a port of the guest's. */
export async function startEcho(shell: Shell, port: number): Promise<void> {
  const path = await putProgram(shell, 'echo', ECHO);
  await shell.run(`perl ${path} ${port} >${path}.log & until grep -q ready ${path}.log; do :; done`);
}

/** A program of the host on a UNIX socket; each connection is passed to `serve`. */
export async function listenOn(path: string, serve: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, serve);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}

/** Sends bytes to a UNIX socket, then nothing more, and returns the answer when the peer closes the connection. */
export async function exchange(path: string, bytes: string): Promise<string> {
  const socket = connect({ path, allowHalfOpen: true });
  let got = '';
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => (got += text));
  socket.on('error', () => undefined);
  socket.end(bytes, 'latin1');
  await new Promise((resolve) => socket.once('close', resolve));
  return got;
}
