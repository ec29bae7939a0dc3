// Sockets between host and guest: both ways, many at once, large, slow, and what is left of them.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { connectVsock } from '../src/sdk/vsock.ts';
import { guestConfig } from './support/guest.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { until } from './support/wait.ts';
import { assertStatus, REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { exchange, listenOn, startEcho } from './support/vsock.ts';

const MIB = 2 ** 20;
const ECHO_PORT = 16;
/** Asks the guest's kernel for its address (IOCTL_VM_SOCKETS_GET_LOCAL_CID). */
const OWN_ADDRESS =
  'open(V, "<", "/dev/vsock") or die $!; my $cid = pack("L", 0); ioctl(V, 0x7b9, $cid) or die $!; print unpack("L", $cid), "\\n"';

/** A socket's name as long as it can be, with nothing in it that an option or a shell would leave as it is. */
function socketPath(vmm: TestVmm): string {
  const name = 'v, "s" $é=';
  const room = 107 - Buffer.byteLength(join(vmm.folder, name)) - 1;
  const folder = join(vmm.folder, 'x'.repeat(room));
  mkdirSync(folder);
  return join(folder, name);
}

/** The name of the socket that the guest reaches as a port, short enough to be listened on. */
function hostPort(path: string, port: number): string {
  const folder = openSync(dirname(path), 'r');
  return `/proc/self/fd/${folder}/${basename(path)}_${port}`;
}

/** Sends bytes and waits until as many are back. */
async function echo(socket: Socket, text: string): Promise<string> {
  let got = '';
  const take = (bytes: Buffer): void => void (got += bytes.toString('latin1'));
  socket.on('data', take);
  socket.write(text, 'latin1');
  await until('the echo is back', () => got.length >= text.length);
  socket.off('data', take);
  return got;
}

async function closed(socket: Socket): Promise<void> {
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
}

/** Clock ticks that a process has used, of which there are 100 in a second. */
function ticks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

test('host and guest connect to each other, and what is in the way is told', async () => {
  await using vmm = await startVmm();
  const path = socketPath(vmm);
  const memory = { size: 512 * MIB, mergeable: true };
  const config = guestConfig({ vsock: { cid: 5, socket: path, iommu: true }, memory }, { tools: true });
  assertStatus(await vmm.put('vm.create', config), 204);

  writeFileSync(path, '');
  const refused = await vmm.put('vm.boot');
  assertStatus(refused, 500);
  assert.match(JSON.stringify(refused.json), /vsock _vsock0: .*something that is not a socket is there/);
  assert.equal(readFileSync(path, 'utf8'), '', 'the file in the way was touched');
  unlinkSync(path);

  assertStatus(await vmm.put('vm.boot'), 204);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const { config: shown } = (await vmm.get('vm.info')).json as { config: Record<string, unknown> };
  assert.deepEqual(shown['vsock'], { cid: 5, socket: path, iommu: true, id: '_vsock0' });
  assert.match(vmm.output(), /vsock _vsock0: iommu: its back-end translates nothing/);
  assert.equal((shown['memory'] as { shared: boolean }).shared, false, 'vm.info shows what was asked for');

  using shell = openShell(await ptyOf(vmm));
  await shell.login();
  assert.equal(await shell.run('cat /sys/bus/virtio/devices/*/device | grep -c 0x0013'), '1');
  assert.equal(await shell.run(`perl -e '${OWN_ADDRESS}'`), '5');
  await startEcho(shell, ECHO_PORT);

  await hostToGuest(path);
  await guestToHost(path, shell);
  await example(path, shell);
  await manyAtOnce(path);
  await oneAfterAnother(path);
  await large(path, shell);
  await slowReader(path, shell);
  await pauseAndResume(vmm, path);
  await idle(vmm, path);
  await reboot(vmm, path, shell);

  assertStatus(await vmm.put('vm.shutdown'), 204);
  assert.equal(existsSync(path), false, 'the socket is removed with the device');
});

async function hostToGuest(path: string): Promise<void> {
  assert.match(await exchange(path, `CONNECT ${ECHO_PORT}\nHelloWorld!`), /^OK 1073741\d{3}\nHelloWorld!$/);
  assert.match(
    await exchange(path, `connect ${ECHO_PORT}\n`),
    /^OK \d+\n$/,
    'the word may be in small letters',
  );
  assert.equal(await exchange(path, 'CONNECT 4711\nx'), '', 'nobody listens');
  assert.equal(await exchange(path, 'CONNECT 4294967296\n'), '', 'no port');
  assert.equal(await exchange(path, `GET / HTTP/1.1\n`), '');
  assert.equal(await exchange(path, 'x'.repeat(100)), '');
  await assert.rejects(connectVsock(path, 4711), /no program listens on port 4711/);

  // half-closed: the guest's end is still to come
  const socket = await connectVsock(path, ECHO_PORT);
  assert.equal(await echo(socket, 'first'), 'first');
  socket.end('last');
  let rest = '';
  socket.on('data', (bytes: Buffer) => (rest += bytes.toString()));
  await closed(socket);
  assert.equal(rest, 'last');
}

async function guestToHost(path: string, shell: Shell): Promise<void> {
  const server = await listenOn(hostPort(path, 7), (socket) => {
    let got = '';
    socket.on('data', (bytes: Buffer) => (got += bytes.toString()));
    // the guest has ended its direction, ours is still open
    socket.on('end', () => socket.end(`host got ${got}`));
  });
  assert.equal(await shell.run('echo hello | socat -t 60 - VSOCK-CONNECT:2:7'), 'host got hello');
  server.close();
  assert.match(await shell.run('echo x | socat - VSOCK-CONNECT:2:8 2>&1'), /Connection reset by peer/);
  assert.match(await shell.run('echo x | socat - VSOCK-CONNECT:9:7 2>&1'), /timed out|reset|unreachable/i);
}

/** A command of the host's runs in the guest, as docs/vsock.md and the example say. */
async function example(path: string, shell: Shell): Promise<void> {
  await shell.run('(socat -t 60 VSOCK-LISTEN:30,fork "SYSTEM:/bin/sh; true,stderr" >/dev/null 2>&1 &)');
  const words = [
    join(REPO, 'build/examples/vsock-run.js'),
    path,
    '30',
    'uname -s; echo $((6 * 7)); ls /none',
  ];
  let output = '';
  await until('the guest listens', async () => {
    output = (await promisify(execFile)(process.execPath, words)).stdout;
    return true;
  });
  assert.match(output, /^Linux\n42\n.*No such file or directory\n$/);
}

async function manyAtOnce(path: string): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: 256 }, () => connectVsock(path, ECHO_PORT)));
  const answers = await Promise.all(sockets.map((socket, i) => echo(socket, `number ${i}`)));
  assert.deepEqual(
    answers,
    sockets.map((_, i) => `number ${i}`),
  );
  for (const socket of sockets) socket.end();
  await Promise.all(sockets.map(closed));
}

async function oneAfterAnother(path: string): Promise<void> {
  for (let i = 0; i < 1000; i++)
    assert.match(await exchange(path, `CONNECT ${ECHO_PORT}\n${i}`), endsWith(i));
}

const endsWith = (i: number): RegExp => new RegExp(`^OK \\d+\n${i}$`);

async function large(path: string, shell: Shell): Promise<void> {
  const bytes = randomBytes(48 * MIB);
  const sum = createHash('md5').update(bytes).digest('hex');
  shell.type('socat -u VSOCK-LISTEN:20 OPEN:/tmp/large,creat; echo large""-done\r');
  let socket: Socket | undefined;
  await until('the guest listens', async () => (socket = await connectVsock(path, 20)) !== undefined);
  socket?.end(bytes);
  await shell.sees('large-done');
  assert.equal(await shell.run('md5sum </tmp/large'), `${sum}  -`);

  const hash = createHash('md5');
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const server = await listenOn(hostPort(path, 21), (from) => {
    from.on('data', (part: Buffer) => hash.update(part));
    from.on('end', () => {
      from.end();
      end();
    });
  });
  await shell.run('socat -u OPEN:/tmp/large VSOCK-CONNECT:2:21; rm /tmp/large');
  await ended;
  server.close();
  assert.equal(hash.digest('hex'), sum);
}

/** One that takes nothing blocks itself and nobody else. */
async function slowReader(path: string, shell: Shell): Promise<void> {
  let lazy: Socket | undefined;
  const server = await listenOn(hostPort(path, 22), (socket) => (lazy = socket.pause()));
  shell.type('head -c 8388608 /dev/zero | socat -u - VSOCK-CONNECT:2:22; echo lazy""-done\r');
  await until('the guest has connected', () => lazy !== undefined);
  assert.equal((await exchange(path, `CONNECT ${ECHO_PORT}\nquick`)).slice(-5), 'quick');
  assert.equal(shell.shown().includes('lazy-done'), false);
  let got = 0;
  lazy?.on('data', (bytes: Buffer) => (got += bytes.length)).resume();
  await shell.sees('lazy-done');
  await until('all of it has arrived', () => got === 8 * MIB);
  lazy?.destroy();
  server.close();
}

async function pauseAndResume(vmm: TestVmm, path: string): Promise<void> {
  const socket = await connectVsock(path, ECHO_PORT);
  assert.equal(await echo(socket, 'before'), 'before');
  assertStatus(await vmm.put('vm.pause'), 204);
  const answer = echo(socket, 'meanwhile');
  assertStatus(await vmm.put('vm.resume'), 204);
  assert.equal(await answer, 'meanwhile');
  socket.destroy();
}

/** Nothing is polled for: two seconds cost less than two clock ticks, 1 % of a processor. */
async function idle(vmm: TestVmm, path: string): Promise<void> {
  const socket = await connectVsock(path, ECHO_PORT);
  assert.equal(await echo(socket, 'up'), 'up');
  const before = ticks(vmm.pid);
  await delay(2000);
  const used = ticks(vmm.pid) - before;
  assert.ok(used < 2, `an idle VM cost ${used} ticks in 2 s`);
  socket.destroy();
}

async function reboot(vmm: TestVmm, path: string, shell: Shell): Promise<void> {
  const socket = await connectVsock(path, ECHO_PORT);
  const end = once(socket.resume(), 'end');
  assertStatus(await vmm.put('vm.reboot'), 204);
  await end;
  socket.destroy();
  await shell.login();
  await startEcho(shell, ECHO_PORT);
  assert.match(await exchange(path, `CONNECT ${ECHO_PORT}\nagain`), /^OK \d+\nagain$/);
}
