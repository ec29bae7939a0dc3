import assert from 'node:assert/strict';
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { VmConfigInput } from '../../config/vm-config.ts';
import { keyOf, shapeOf, warmKeyOf } from './warm-key.ts';

const CONFIG: VmConfigInput = {
  cpus: { boot_vcpus: 1, max_vcpus: 1 },
  memory: { size: 2 ** 28 },
  kernel: { path: '/k' },
  initramfs: { path: '/run/1/initramfs' },
  cmdline: { args: 'quiet' },
  serial: { mode: 'File', file: '/run/1/serial.log' },
  console: { mode: 'Socket', socket: '/run/1/console.sock' },
  disks: [{ id: 'layer0', path: '/layers/a', readonly: true }],
  net: [{ id: 'net', backend: 'user', forwards: [{ host_port: 1, guest_port: 2 }] }],
};
const HOST = { version: '1', accelerator: 'tcg', files: ['/k:1'] };

const keyFor = (change: Partial<VmConfigInput>): string =>
  keyOf(shapeOf({ ...CONFIG, ...change }), 'initramfs', HOST);

test('a key does not depend on the values that a restore replaces', () => {
  const same: Partial<VmConfigInput>[] = [
    { serial: { mode: 'File', file: '/run/2/serial.log' } },
    { console: { mode: 'Socket', socket: '/run/2/console.sock' } },
    { initramfs: { path: '/run/2/initramfs' } },
    { net: [{ id: 'net', backend: 'user', forwards: [] }] },
  ];
  for (const change of same) assert.equal(keyFor(change), keyFor({}));
});

test('a key depends on each value that shapes the guest', () => {
  const others: Partial<VmConfigInput>[] = [
    { cpus: { boot_vcpus: 2, max_vcpus: 2 } },
    { memory: { size: 2 ** 29 } },
    { memory: { size: 2 ** 28, shared: true } },
    { kernel: { path: '/l' } },
    { cmdline: { args: 'quiet x' } },
    { serial: { mode: 'Off' } },
    { disks: [{ id: 'layer0', path: '/layers/b', readonly: true }] },
    { net: [] },
    { fs: [{ id: 'volume0', tag: 'volume0', directory: '/d' }] },
  ];
  const keys = others.map(keyFor);
  assert.equal(new Set([keyFor({}), ...keys]).size, others.length + 1);
});

test('a key depends on the initramfs and on the host', () => {
  const shape = shapeOf(CONFIG);
  const keys = [
    keyOf(shape, 'initramfs', HOST),
    keyOf(shape, 'other', HOST),
    keyOf(shape, 'initramfs', { ...HOST, version: '2' }),
    keyOf(shape, 'initramfs', { ...HOST, accelerator: 'kvm' }),
    keyOf(shape, 'initramfs', { ...HOST, files: ['/k:2'] }),
  ];
  assert.equal(new Set(keys).size, keys.length);
});

test('a file with another content has another key', async () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'warm-key-'));
  try {
    const path = join(folder, 'kernel');
    const machine = { config: { ...CONFIG, kernel: { path } }, initramfsId: 'initramfs' };
    writeFileSync(path, 'a');
    const first = await warmKeyOf(machine);
    assert.match(first, /^[0-9a-f]{64}$/);
    assert.equal(await warmKeyOf(machine), first);
    writeFileSync(path, 'bc');
    assert.notEqual(await warmKeyOf(machine), first);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
