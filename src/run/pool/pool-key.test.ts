import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { RunRequest } from '../run-request.ts';
import { testRunRequest } from '../test-run-request.ts';
import { poolRequestOf } from './pool-key.ts';

const keyOf = async (change: Partial<RunRequest>): Promise<string | undefined> =>
  (await poolRequestOf(testRunRequest(change)))?.key;

test('requests of one image and shape have one key', async () => {
  const key = await keyOf({});
  assert.match(key ?? '', /^[0-9a-f]{16}$/);
  for (const change of [
    { command: ['sh', '-c', 'exit 1'], env: { A: '1' }, user: 'guest', workingDirectory: '/tmp' },
    {
      isInteractive: true,
      removes: false,
      labels: { a: 'b' },
      timeoutMs: 1000,
      hostname: 'h',
      entrypoint: 'x',
    },
    { image: 'docker.io/library/alpine:3.20' },
    { pull: 'never' } as const,
  ])
    assert.equal(await keyOf(change), key, JSON.stringify(change));
});

test('another image, shape or kernel is another key', async () => {
  const keys = await Promise.all(
    [
      {},
      { image: 'alpine:3.21' },
      { cpus: 2 },
      { memory: 2 ** 29 },
      { network: 'none' } as const,
      { kernel: '/boot/vmlinuz' },
      { kernelArguments: 'debug' },
      { platform: 'linux/arm64' },
    ].map(keyOf),
  );
  assert.ok(!keys.includes(undefined));
  assert.equal(new Set(keys).size, keys.length);
});

test('a request that needs a VM or a process of its own has no key', async () => {
  for (const change of [
    { image: undefined, kernel: '/boot/vmlinuz' },
    { image: '/' },
    { image: './disk.qcow2' },
    { image: 'dir:x' },
    { name: 'web' },
    { isCold: true },
    { isDetached: true },
    { hasTerminal: true },
    { volumes: [{ host: '/', guest: '/src', isReadOnly: true }] },
    { ports: [{ address: '127.0.0.1', hostPort: 0, guestPort: 80, protocol: 'tcp' }] },
    { pull: 'always' },
    { initramfs: '/initramfs' },
    { snapshot: '/snapshot' },
  ] as const)
    assert.equal(await keyOf(change), undefined, JSON.stringify(change));
});

test('a local image is the same from any directory', async () => {
  const path = join(process.cwd(), 'layout');
  const found = await poolRequestOf(testRunRequest({ image: 'oci:layout' }));
  assert.equal(found?.request.image, `oci:${path}`);
  assert.equal(found.key, await keyOf({ image: `oci:${path}` }));
});
