// Sockets that a VMM listens on: one in use is never replaced, that of a killed process always.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { createAndBoot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { makeFolder, REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const DAEMON = join(REPO, 'bin/cloud-hypervisor');

/** Starts a VMM that is expected to end at once. */
function run(...args: string[]): { readonly status: number | null; readonly stderr: string } {
  return spawnSync(process.execPath, [DAEMON, ...args], { encoding: 'utf8', timeout: 60_000 });
}

async function connected(path: string): Promise<Socket> {
  const socket = connect(path);
  socket.on('error', () => undefined);
  await until('the socket is connected', () => !socket.connecting && !socket.destroyed);
  return socket.resume();
}

async function isRefused(
  vmm: TestVmm,
  config: Parameters<typeof guestConfig>[0],
  pattern: RegExp,
): Promise<void> {
  assertStatus(await vmm.put('vm.create', guestConfig(config)), 204);
  const answer = await vmm.put('vm.boot');
  assertRefused(answer, 500, pattern);
  assertStatus(await vmm.put('vm.delete'), 204);
}

for (const [option, words] of [
  ['--api-socket', (path: string) => [path]],
  ['--api-socket path=', (path: string) => [`path=${path}`]],
  ['--metrics', (path: string) => [path]],
] as const) {
  test(`a second VMM does not replace a socket in use: ${option}`, async () => {
    await using first = await startVmm();
    const before = statSync(first.socket);
    for (const end of ['is refused', 'is refused again']) {
      const { status, stderr } = run(option.split(' ')[0] ?? '', ...words(first.socket));
      assert.equal(status, 1, end);
      assert.match(stderr, new RegExp(`s in use: process ${first.pid} \\(.*\\) listens there`, 'i'));
      assert.equal(statSync(first.socket).ino, before.ino);
      assertStatus(await first.get('vmm.ping'), 200);
    }
  });
}

test('a VMM leaves an API socket that another VMM has made at its path', async () => {
  await using first = await startVmm();
  rmSync(first.socket);
  await using second = await startVmm({ socket: first.socket });
  first.kill('SIGTERM');
  assert.equal(await first.exited, 0);
  assertStatus(await second.get('vmm.ping'), 200);
  second.kill('SIGINT');
  assert.equal(await second.exited, 0);
  assert.ok(!existsSync(first.socket));
});

test('sockets in use are refused to another VM; those of a killed VMM are replaced', async () => {
  const folder = makeFolder();
  const at = (name: string): string => join(folder, `${name} "a", é`);
  const all = ['api', 'metrics', 'serial', 'console', 'vsock'].map(at);
  const config = {
    serial: { mode: 'Socket', socket: at('serial') },
    console: { mode: 'Socket', socket: at('console') },
    vsock: { cid: 3, socket: at('vsock') },
  };
  const args = ['--metrics', at('metrics')];
  try {
    await using first = await startVmm({ socket: at('api'), args });
    await createAndBoot(first, guestConfig(config));
    const reader = await connected(at('serial'));
    {
      await using second = await startVmm();
      const inUse = (place: string): RegExp =>
        new RegExp(`${place}: .*is in use: process ${first.pid} \\(.*\\) listens there`);
      const { serial, vsock } = config;
      await isRefused(second, { serial }, inUse('serial _serial'));
      await isRefused(second, { vsock }, inUse('vsock _vsock0'));
      await isRefused(second, { console: { ...serial, socket: at('api') } }, inUse('console _console'));
      const net = [{ vhost_user: true, vhost_socket: at('vsock'), vhost_mode: 'Server' }];
      await isRefused(second, { net, memory: { size: 256 << 20, shared: true } }, inUse('net _net0'));
      const receiving = await second.put('vm.receive-migration', { receiver_url: `unix:${at('serial')}` });
      assertRefused(receiving, 500, /is in use: process/);
    }
    assert.ok(!reader.destroyed, 'the console’s client was disturbed');
    assert.ok(all.every((path) => existsSync(path)));

    first.kill('SIGKILL');
    await first.exited;
    assert.ok(all.every((path) => existsSync(path)));
    await using again = await startVmm({ socket: at('api'), args });
    await createAndBoot(again, guestConfig(config));
    (await connected(at('vsock'))).destroy();
    again.kill('SIGTERM');
    assert.equal(await again.exited, 0);
    assert.deepEqual(
      all.filter((path) => existsSync(path)),
      [],
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('the socket of a waiting receiver is refused to others, and removed at its exit', async () => {
  await using first = await startVmm();
  await using second = await startVmm();
  const path = join(first.folder, 'receiver');
  const url = { receiver_url: `unix:${path}` };
  const waiting = first.put('vm.receive-migration', url);
  await until('the receiver listens', () => existsSync(path));
  const refused = await second.put('vm.receive-migration', url);
  assertRefused(refused, 500, new RegExp(`is in use: process ${first.pid} `));
  assert.ok(existsSync(path));
  first.kill('SIGTERM');
  await waiting.catch(() => undefined);
  assert.equal(await first.exited, 0);
  assert.ok(!existsSync(path));
});
