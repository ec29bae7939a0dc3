import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { startSshServer, type SshServer } from '../../tests/support/ssh-server.ts';
import { until } from '../../tests/support/wait.ts';
import { createGuestLink } from './guest-link.ts';
import { connectVsock } from './vsock.ts';

/** A socket with the protocol of the hybrid vsock: port 22 is an SSH server of its own for each connection, port 1 never answers. */
async function serveHybrid(): Promise<{ path: string; servers: SshServer[] } & AsyncDisposable> {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-link-'));
  const path = join(folder, 'guest.sock');
  const servers: SshServer[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', (line: Buffer) => {
      if (line.toString() === 'CONNECT 1\n') return;
      if (line.toString() !== 'CONNECT 22\n') return void socket.destroy();
      const ssh = startSshServer();
      servers.push(ssh);
      socket.write('OK 1024\n');
      socket.pipe(ssh.stream).on('error', () => socket.destroy());
      ssh.stream.pipe(socket);
    });
  }).listen(path);
  await once(server, 'listening');
  return {
    path,
    servers,
    [Symbol.asyncDispose]: async () => {
      server.close();
      for (const one of servers) await one[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

test('calls share a connection, which is made again after its end', async () => {
  await using hybrid = await serveHybrid();
  await using link = createGuestLink({ socket: hybrid.path }, () => undefined);
  const [one, two] = await Promise.all([link.connect(), link.connect()]);
  assert.equal(one, two);
  assert.equal((await one.exec('echo hello')).stdout, 'hello\n');
  assert.equal(hybrid.servers.length, 1);
  hybrid.servers[0]?.child.kill('SIGKILL');
  await one.closed;
  assert.equal((await (await link.connect()).exec('echo again')).stdout, 'again\n');
  assert.equal(hybrid.servers.length, 2);
});

test('a guest without a way to it, or without a server, is an error with the reason', async () => {
  await using none = createGuestLink({}, () => undefined);
  await assert.rejects(none.connect(), { name: 'GuestError', fault: 'connect', message: /no vsock/ });
  await using hybrid = await serveHybrid();
  await using refused = createGuestLink({ socket: hybrid.path, port: 7 }, () => undefined);
  await assert.rejects(refused.connect(), { fault: 'connect', message: /no program listens on port 7/ });
  await using silent = createGuestLink({ port: 1 }, () => hybrid.path);
  await assert.rejects(silent.connect({ timeoutMs: 30 }), { fault: 'timeout' });
  await assert.rejects(silent.connect({ signal: AbortSignal.timeout(30) }), { fault: 'aborted' });
});

test('connectVsock ends by its time limit and its signal', async () => {
  await using hybrid = await serveHybrid();
  await assert.rejects(connectVsock(hybrid.path, 1, { timeoutMs: 30 }), {
    name: 'VsockError',
    fault: 'timeout',
    message: /port 1 .* 30 ms/,
  });
  const abort = new AbortController();
  const waiting = connectVsock(hybrid.path, 1, { signal: abort.signal });
  abort.abort(new Error('no longer wanted'));
  await assert.rejects(waiting, { fault: 'aborted', cause: abort.signal.reason });
  await assert.rejects(connectVsock(hybrid.path, 1, { signal: abort.signal }), { fault: 'aborted' });
  await assert.rejects(connectVsock(hybrid.path, 5), { fault: 'refused' });
  await assert.rejects(connectVsock('/absent/socket', 5), { code: 'ENOENT' });
});

test('a forward connects clients of this host to a port of the guest, until the link ends', async () => {
  await using hybrid = await serveHybrid();
  const link = createGuestLink({ socket: hybrid.path }, () => undefined);
  const inGuest = createServer((socket) => socket.end('from the guest')).listen(0, '127.0.0.1');
  await once(inGuest, 'listening');
  const address = inGuest.address();
  assert.ok(typeof address === 'object' && address !== null);
  const forward = await link.forward(0, address.port);
  const client = connect(forward.port, forward.address);
  assert.equal((await buffer(client)).toString(), 'from the guest');
  await assert.rejects(link.forward(forward.port, 1), { code: 'EADDRINUSE' });
  inGuest.close();
  const lost = connect(forward.port, forward.address).on('error', () => undefined);
  await once(lost, 'close');
  await link[Symbol.asyncDispose]();
  await assert.rejects(once(connect(forward.port, forward.address), 'connect'), { code: 'ECONNREFUSED' });
  await assert.rejects(link.connect(), { fault: 'closed' });
  await until('the servers have ended', () =>
    hybrid.servers.every(({ child }) => child.exitCode !== null || child.signalCode !== null),
  );
  assert.ok(existsSync(hybrid.path));
});
