// vsock: connections of both directions, many, large and slow ones, over pauses and reboots.
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
import { assertRefused, assertStatus } from './support/answers.ts';
import { login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { cpuTicks } from './support/processes.ts';
import type { Shell } from './support/shell.ts';
import { infoOf } from './support/vm-info.ts';
import { REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { exchange, listenOn, startEcho } from './support/vsock.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const ECHO_PORT = 16;
/** Asks the guest's kernel for its address (IOCTL_VM_SOCKETS_GET_LOCAL_CID). */
const OWN_ADDRESS =
  'open(V, "<", "/dev/vsock") or die $!; my $cid = pack("L", 0); ioctl(V, 0x7b9, $cid) or die $!; print unpack("L", $cid), "\\n"';

/** Path of a socket with 107 bytes, the maximum, and characters that options and shells interpret. */
function socketPath(vmm: TestVmm): string {
  const name = 'v, "s" $é=';
  const rest = 107 - Buffer.byteLength(join(vmm.folder, name)) - 1;
  const folder = join(vmm.folder, 'x'.repeat(rest));
  mkdirSync(folder);
  return join(folder, name);
}

/** Path of the socket that the guest reaches as a port, shortened by a file descriptor of its folder. */
function hostPort(path: string, port: number): string {
  const folder = openSync(dirname(path), 'r');
  return `/proc/self/fd/${folder}/${basename(path)}_${port}`;
}

/** Sends bytes and waits until as many are received. */
async function echo(socket: Socket, text: string): Promise<string> {
  let got = '';
  const take = (bytes: Buffer): void => void (got += bytes.toString('latin1'));
  socket.on('data', take);
  socket.write(text, 'latin1');
  await until('the echo is received', () => got.length >= text.length);
  socket.off('data', take);
  return got;
}

async function closed(socket: Socket): Promise<void> {
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
}

test('vsock', async (t) => {
  await using vmm = await startVmm();
  const path = socketPath(vmm);
  const memory = { size: 512 * MIB, mergeable: true };
  const config = guestConfig({ vsock: { cid: 5, socket: path, iommu: true }, memory }, { tools: true });
  assertStatus(await vmm.put('vm.create', config), 204);

  await t.test('a file at the path of the socket is refused, and left as it is', async () => {
    writeFileSync(path, '');
    const refused = await vmm.put('vm.boot');
    assertRefused(refused, 500, /vsock _vsock0: .*something that is not a socket is there/);
    assert.equal(readFileSync(path, 'utf8'), '', 'the file in the way was touched');
  });
  unlinkSync(path);

  assertStatus(await vmm.put('vm.boot'), 204);
  await t.test('the socket has mode 0600', () => {
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });
  await t.test('vm.info shows the device', async () => {
    const { vsock } = (await infoOf(vmm)).config;
    assert.deepEqual(vsock, { cid: 5, socket: path, iommu: true, id: '_vsock0' });
  });
  await t.test('iommu is reported to have no effect', () => {
    assert.match(vmm.output(), /vsock _vsock0: iommu: its back-end translates nothing/);
  });
  await t.test('vm.info shows memory.shared as configured', async () => {
    assert.equal((await infoOf(vmm)).config.memory.shared, false);
  });

  using shell = await login(vmm);
  await t.test('the guest has one vsock device with its CID', async () => {
    assert.equal(await shell.run('cat /sys/bus/virtio/devices/*/device | grep -c 0x0013'), '1');
    assert.equal(await shell.run(`perl -e '${OWN_ADDRESS}'`), '5');
  });
  await startEcho(shell, ECHO_PORT);

  await t.test('connections of the host to ports of the guest', () => hostToGuest(path));
  await t.test('connections of the guest to ports of the host', () => guestToHost(path, shell));
  await t.test('the example runs a command in the guest', () => example(path, shell));
  await t.test('256 connections at once', () => manyAtOnce(path));
  await t.test('1000 connections, one after another', () => oneAfterAnother(path));
  await t.test('48 MiB in each direction', () => large(path, shell));
  await t.test('a reader that stops blocks its own connection only', () => slowReader(path, shell));
  await t.test('a connection stays open over vm.pause and vm.resume', () => pauseAndResume(vmm, path));
  await t.test('an idle VM with an open connection uses no processor', () => idle(vmm, path));
  await t.test('vm.reboot ends connections, and new ones can be made', () => reboot(vmm, path, shell));

  assertStatus(await vmm.put('vm.shutdown'), 204);
  await t.test('Node prints no warning', () => assert.doesNotMatch(vmm.output(), /Warning: /));
  await t.test('the socket is removed with the device', () => {
    assert.equal(existsSync(path), false, 'the socket is removed with the device');
  });
});

async function hostToGuest(path: string): Promise<void> {
  assert.match(await exchange(path, `CONNECT ${ECHO_PORT}\nHelloWorld!`), /^OK 1073741\d{3}\nHelloWorld!$/);
  assert.match(
    await exchange(path, `connect ${ECHO_PORT}\n`),
    /^OK \d+\n$/,
    'the keyword may be in lower case',
  );
  assert.equal(await exchange(path, 'CONNECT 4711\nx'), '', 'no listener');
  assert.equal(await exchange(path, 'CONNECT 4294967296\n'), '', 'no port');
  assert.equal(await exchange(path, `GET / HTTP/1.1\n`), '');
  assert.equal(await exchange(path, 'x'.repeat(100)), '');
  await assert.rejects(connectVsock(path, 4711), /no program listens on port 4711/);

  // half-closed: the guest can still send
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
    // the guest has closed its direction; this one is open
    socket.on('end', () => socket.end(`host got ${got}`));
  });
  assert.equal(await shell.run('echo hello | socat -t 60 - VSOCK-CONNECT:2:7'), 'host got hello');
  server.close();
  assert.match(await shell.run('echo x | socat - VSOCK-CONNECT:2:8 2>&1'), /Connection reset by peer/);
  assert.match(await shell.run('echo x | socat - VSOCK-CONNECT:9:7 2>&1'), /timed out|reset|unreachable/i);
}

/** Runs the example of docs/vsock.md. */
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

async function slowReader(path: string, shell: Shell): Promise<void> {
  let paused: Socket | undefined;
  const server = await listenOn(hostPort(path, 22), (socket) => (paused = socket.pause()));
  shell.type('head -c 8388608 /dev/zero | socat -u - VSOCK-CONNECT:2:22; echo paused""-done\r');
  await until('the guest has connected', () => paused !== undefined);
  assert.equal((await exchange(path, `CONNECT ${ECHO_PORT}\nquick`)).slice(-5), 'quick');
  assert.equal(shell.shown().includes('paused-done'), false);
  let got = 0;
  paused?.on('data', (bytes: Buffer) => (got += bytes.length)).resume();
  await shell.sees('paused-done');
  await until('all of it has arrived', () => got === 8 * MIB);
  paused?.destroy();
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

/**
 * Two seconds must cost less than two clock ticks, 1 % of a processor: nothing is polled. V8 collects garbage after a boot, and again
 * ten seconds later: three intervals are tried.
 */
async function idle(vmm: TestVmm, path: string): Promise<void> {
  const socket = await connectVsock(path, ECHO_PORT);
  assert.equal(await echo(socket, 'up'), 'up');
  let used = Infinity;
  for (let interval = 0; interval < 3 && used >= 2; interval++) {
    const before = cpuTicks(vmm.pid);
    // the processor time of an interval is measured: the interval is no wait for a condition
    await delay(2000);
    used = cpuTicks(vmm.pid) - before;
  }
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
