// Requests of current clients that the contract does not have, observed in the guest and on the host.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { createImage } from './support/images.ts';
import type { Shell } from './support/shell.ts';
import { infoOf, stateOf } from './support/vm-info.ts';
import { REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;

/** The configuration of the one guest that the requests are tried on. */
function configuration({ folder }: TestVmm) {
  const raw = createImage(join(folder, 'a, "b" ü.raw'), '16M', ['-f', 'raw']);
  const base = createImage(join(folder, 'base.raw'), '16M', ['-f', 'raw']);
  const qcow2 = createImage(join(folder, 'limited.qcow2'), '16M', ['-f', 'qcow2', '-b', base, '-F', 'raw']);
  const fixed = createImage(join(folder, 'read-only.raw'), '16M', ['-f', 'raw']);
  const limit = { bandwidth: { size: 2 ** 30, refill_time: 100 } };
  return {
    raw,
    qcow2,
    disks: [
      { path: raw, id: 'raw, ü' },
      { path: qcow2, id: 'limited', image_type: 'Qcow2', rate_limiter_config: limit },
      { path: fixed, id: 'fixed', readonly: true },
    ],
  };
}

function remote(vmm: TestVmm, ...words: string[]): string {
  const line = [join(REPO, 'bin/ch-remote'), '--api-socket', vmm.socket, ...words];
  return execFileSync(process.execPath, line, { encoding: 'utf8' });
}

test('requests of current clients to a running VM', async (t) => {
  await using vmm = await startVmm({ args: ['--no-shutdown'] });
  const { raw, qcow2, disks } = configuration(vmm);
  // little RAM: all of it is written into a file
  const cmdline = { args: 'console=ttyS0 panic=1' };
  using shell = await boot(vmm, { disks, cmdline, pvpanic: true, memory: { size: 256 * MIB } });

  await t.test('disks grow and shrink', () => resizeDisks(vmm, shell, { raw, qcow2 }));
  await t.test('the guest’s memory is in an ELF file', () => dumpCore(vmm, shell));
  await t.test('a panic is told, and what follows is the guest’s', () => panic(vmm, shell));
  await t.test('with --no-shutdown the VMM outlives the guest', async () => {
    shell.type('poweroff\r');
    await until('the VM is shut down', async () => (await stateOf(vmm)) === 'Shutdown', vmm.output);
    assertStatus(await vmm.get('vmm.ping'), 200);
    assertStatus(await vmm.put('vm.boot'), 204);
    assert.equal(await stateOf(vmm), 'Running');
  });
});

async function panic(vmm: TestVmm, shell: Shell): Promise<void> {
  const told = /panic: the guest’s kernel has panicked event=panic/;
  assert.doesNotMatch(vmm.output(), told);
  shell.type('echo c >/proc/sysrq-trigger\r');
  await until('the panic is told', () => told.test(vmm.output()));
  // the kernel's own `panic=1` starts it again
  await shell.login();
  assert.equal(await shell.run('grep -c 0x1b36 /sys/bus/pci/drivers/pvpanic-pci/*/vendor'), '1');
  assert.equal((await infoOf(vmm)).config.pvpanic, true);
}

async function dumpCore(vmm: TestVmm, shell: Shell): Promise<void> {
  // neither the test nor the terminal wrote the checksum: it is only in the guest's memory
  await shell.run('echo of the core | sha256sum >/tmp/sum');
  const sum = createHash('sha256').update('of the core\n').digest('hex');
  const path = join(vmm.folder, 'core, "of" ü');
  assert.equal(remote(vmm, 'coredump', `file://${path}`), '');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const core = readFileSync(path);
  rmSync(path);
  assert.equal(core.toString('latin1', 0, 4), '\x7fELF');
  // ET_CORE for x86-64, 64 bits
  assert.deepEqual([core[4], core.readUInt16LE(16), core.readUInt16LE(18)], [2, 4, 62]);
  const [table, size, count] = [
    Number(core.readBigUInt64LE(32)),
    core.readUInt16LE(54),
    core.readUInt16LE(56),
  ];
  const parts = Array.from({ length: count }, (_, i) =>
    core.subarray(table + i * size, table + (i + 1) * size),
  );
  const loaded = parts.filter((part) => part.readUInt32LE(0) === 1);
  const segments = loaded.map((part) => {
    const [offset, bytes] = [Number(part.readBigUInt64LE(8)), Number(part.readBigUInt64LE(32))];
    return core.subarray(offset, offset + bytes);
  });
  assert.ok(segments.reduce((total, { length }) => total + length, 0) >= 255 * MIB);
  assert.ok(segments.some((segment) => segment.includes(sum)));
  // registers of the vCPU
  assert.ok(parts.some((part) => part.readUInt32LE(0) === 4));

  // it runs on, and a paused VM stays paused
  assert.equal(await shell.run('echo on'), 'on');
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.coredump', { destination_url: `file://${path}` }), 204);
  assert.equal((await infoOf(vmm)).state, 'Paused');
  const again = await vmm.put('vm.coredump', { destination_url: `file://${path}` });
  assertRefused(again, 500, /core, .*file already exists/);
  rmSync(path);
  const nowhere = await vmm.put('vm.coredump', { destination_url: 'file:///dev/shm/none/core' });
  assertStatus(nowhere, 500);
  assertStatus(await vmm.put('vm.coredump', { destination_url: 'tcp:1.2.3.4:5' }), 400);
  assertStatus(await vmm.put('vm.resume'), 204);
  assert.equal(await shell.run('echo on'), 'on');
}

async function resizeDisks(
  vmm: TestVmm,
  shell: Shell,
  { raw, qcow2 }: { readonly raw: string; readonly qcow2: string },
): Promise<void> {
  const resize = (id: string, bytes: number) => vmm.put('vm.resize-disk', { id, desired_size: bytes });
  const sees = (name: string, bytes: number): Promise<void> =>
    until(`${name} has ${bytes} bytes in the guest`, async () => {
      return (await shell.run(`cat /sys/block/${name}/size`)) === String(bytes / 512);
    });
  assertStatus(await resize('raw, ü', 32 * MIB), 204);
  await sees('vda', 32 * MIB);
  assert.equal(statSync(raw).size, 32 * MIB);
  // the guest can write beyond the old end
  await shell.run('echo far > /tmp/far; dd if=/tmp/far of=/dev/vda bs=1M seek=31 conv=sync,fsync 2>&1');
  assert.equal(await shell.run('dd if=/dev/vda bs=1M skip=31 count=1 2>/dev/null | head -c 3'), 'far');
  assertStatus(await resize('raw, ü', 8 * MIB), 204);
  await sees('vda', 8 * MIB);
  assert.equal(statSync(raw).size, 8 * MIB);

  assert.equal(remote(vmm, 'resize-disk', '--disk', 'limited', '--size', '48M'), '');
  await sees('vdb', 48 * MIB);
  const info = JSON.parse(
    execFileSync('qemu-img', ['info', '-U', '--output=json', qcow2], { encoding: 'utf8' }),
  );
  assert.equal((info as Record<string, unknown>)['virtual-size'], 48 * MIB);

  for (const [id, bytes, status, reason] of [
    ['nobody', 32 * MIB, 404, /No disk is called "nobody"/],
    ['_serial', 32 * MIB, 404, /No disk/],
    ['fixed', 32 * MIB, 400, /disk fixed: is read-only/],
    ['limited', 32 * MIB, 400, /limited: a qcow2 image cannot become smaller/],
    ['raw, ü', 0, 400, /multiple of 512 above 0, got 0/],
    ['raw, ü', 1000, 400, /multiple of 512/],
    // larger than any file system of the host
    ['raw, ü', 2 ** 53 - 512, 500, /raw, ü: cannot have/],
  ] as const) {
    const answer = await resize(id, bytes);
    assertRefused(answer, status, reason);
  }
  assert.equal(await shell.run('cat /sys/block/vda/size'), String((8 * MIB) / 512));
}

test('requests and members that are not supported are refused with the reason', async () => {
  await using vmm = await startVmm();
  for (const [name, reason] of [
    ['vm.add-user-device', /vfio-user/],
    ['vm.add-vdpa', /vDPA/],
    ['vm.add-generic-vhost-user', /vhost-user/],
  ] as const) {
    const answer = await vmm.put(name, { socket: '/x' });
    assertRefused(answer, 501, reason);
  }
  assertStatus(await vmm.put('vm.add-nothing', {}), 404);
  assertStatus(await vmm.put('vm.resize-disk', { id: 'a', desired_size: 512 }), 404);
  for (const part of [
    { user_devices: [{ socket: '/x' }] },
    { vdpa: [{ path: '/dev/vhost-vdpa-0' }] },
    { generic_vhost_user: [{ socket: '/x', device_type: 4 }] },
    { 'generic-vhost-user': [{ socket: '/x', virtio_id: 4 }] },
  ]) {
    const answer = await vmm.put('vm.create', guestConfig(part));
    assertStatus(answer, 400);
    const member = Object.keys(part)[0]?.replaceAll('-', '_');
    assert.match(JSON.stringify(answer.json), new RegExp(`not supported yet: ${member}`));
  }
  assertStatus(await vmm.put('vm.create', guestConfig({ user_devices: [], rate_limit_groups: [] })), 204);
  assertStatus(await vmm.put('vm.coredump', { destination_url: 'file:///x' }), 405);
  assertStatus(await vmm.put('vm.resize-disk', { id: 'a', desired_size: 512 }), 405);
});
