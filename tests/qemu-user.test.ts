// --user: the privileges of a QEMU of another user, from /proc, and the devices that it can still open.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot, createAndBoot, deleteVm, login } from './support/boot.ts';
import { guestConfig, INITRAMFS, KERNEL } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { childrenOf, descriptorsOf, isAlive, qemuOf, statusField } from './support/processes.ts';
import { openShell } from './support/shell.ts';
import { ptyOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { exchange, startEcho } from './support/vsock.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
/** Ids without a name. */
const [UID, GID] = [64_123, 64_124];
const USER = ['--user', `${UID}:${GID}`];

/** Fails unless a process has these ids, these groups, no capabilities and no_new_privs. */
function assertIsUser(pid: number, uid: number, gid: number, groups: RegExp): void {
  assert.equal(statusField(pid, 'Uid'), Array(4).fill(uid).join('\t'));
  assert.equal(statusField(pid, 'Gid'), Array(4).fill(gid).join('\t'));
  assert.match(statusField(pid, 'Groups').trim(), groups);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
    assert.match(statusField(pid, set), /^0+$/, set);
  }
  assert.equal(statusField(pid, 'NoNewPrivs'), '1');
}

function image(path: string, text: string, owner = 0): string {
  makeImage(path, 4 * MIB, text);
  chmodSync(path, 0o600);
  chownSync(path, owner, owner);
  return path;
}

function folder(vmm: TestVmm, name: string): string {
  const path = join(vmm.folder, name);
  mkdirSync(path, { mode: 0o700 });
  return path;
}

test('QEMU of another user', async (t) => {
  await using vmm = await startVmm({ args: USER });
  chmodSync(vmm.folder, 0o711);
  const disk = image(join(vmm.folder, 'its own, "é"'), 'its own', UID);
  const foreign = image(join(vmm.folder, 'foreign'), 'foreign');
  const socket = join(vmm.folder, 'v');
  // kernel and initramfs are in a folder that only root may enter, in files that only root may read
  const boots = folder(vmm, 'boots');
  const [kernel, initramfs] = [join(boots, 'kernel'), join(boots, 'initramfs')];
  writeFileSync(kernel, readFileSync(KERNEL), { mode: 0o600 });
  writeFileSync(initramfs, readFileSync(INITRAMFS), { mode: 0o600 });
  await t.test('boots a kernel and an initramfs that only root can read', async () => {
    await createAndBoot(vmm, guestConfig({ kernel: { path: kernel }, initramfs: { path: initramfs } }));
    using _shell = await login(vmm);
  });
  await deleteVm(vmm);

  using shell = await boot(
    vmm,
    {
      disks: [{ path: disk }],
      net: [{ ip: '10.91.77.1', mask: '255.255.255.0' }],
      vsock: { cid: 7, socket },
      platform: { serial_number: 'a, "b"' },
      balloon: { size: 0 },
    },
    { tools: true },
  );
  await t.test('has its ids, no groups and no capabilities', () => {
    assertIsUser(qemuOf(vmm.pid), UID, GID, /^$/);
  });
  await t.test('has a disk and the SMBIOS strings', async () => {
    assert.equal(
      await shell.run('head -c 7 /dev/vda; cat /sys/class/dmi/id/product_serial'),
      'its owna, "b"',
    );
  });
  await t.test('has a TAP that the VMM opened', async () => {
    await shell.run('ip addr add 10.91.77.2/24 dev eth0; ip link set eth0 up');
    assert.match(await shell.run('ping -c 2 -W 20 10.91.77.1'), / 0% packet loss/);
  });
  await t.test('has vsock', async () => {
    await startEcho(shell, 16);
    assert.match(await exchange(socket, 'CONNECT 16\nhello'), /^OK \d+\nhello$/);
  });

  await t.test('is refused an image that its user cannot open', async () => {
    const open = descriptorsOf(vmm.pid).length;
    const answer = await vmm.put('vm.add-disk', { path: foreign });
    assertRefused(
      answer,
      500,
      new RegExp(`disk _disk\\d+: .*${foreign}.*Permission denied \\(to user ${UID}:${GID}, .*--user\\)`),
    );
    await until('no file descriptor is left', () => descriptorsOf(vmm.pid).length <= open);
  });
  await t.test('has a hot-plugged disk that its user can open', async () => {
    chownSync(foreign, UID, -1);
    assertStatus(await vmm.put('vm.add-disk', { path: foreign, readonly: true }), 200);
    await shell.run('until [ -b /dev/vdb ]; do :; done');
    assert.equal(await shell.run('head -c 7 /dev/vdb'), 'foreign');
  });
  await t.test('writes a core dump', async () => {
    assertStatus(await vmm.put('vm.coredump', { destination_url: `file://${vmm.folder}/core` }), 204);
    assert.ok(statSync(join(vmm.folder, 'core')).size > 256 * MIB);
  });

  await t.test('is of the same user after a reboot, and exits with a killed VMM', async () => {
    assertStatus(await vmm.put('vm.reboot'), 204);
    const qemu = qemuOf(vmm.pid);
    assertIsUser(qemu, UID, GID, /^$/);
    vmm.kill('SIGKILL');
    await until('QEMU has exited', () => !isAlive(qemu));
  });
});

test('--user with a name', async (t) => {
  await using vmm = await startVmm({ args: ['--user', 'nobody'] });
  chmodSync(vmm.folder, 0o711);
  const foreign = image(join(vmm.folder, 'foreign'), 'foreign');
  await t.test('a disk that the user cannot open is refused, and leaves no process', async () => {
    assertStatus(await vmm.put('vm.create', guestConfig({ disks: [{ path: foreign }] })), 204);
    const answer = await vmm.put('vm.boot');
    assertRefused(answer, 500, /disk _disk0: .*\(to user nobody, .*--user\)/);
    assert.deepEqual(childrenOf(vmm.pid), []);
  });
  await deleteVm(vmm);
  await createAndBoot(vmm, guestConfig({}));
  await t.test('QEMU has the ids and the groups of the user', () => {
    const [uid = NaN, gid = NaN] = ['-u', '-g'].map((flag) => idOfUnprivileged(flag));
    assertIsUser(qemuOf(vmm.pid), uid, gid, new RegExp(`^${gid}\\b`));
  });
});

/** Reads /etc/passwd, the only list of users of test machines. */
function idOfUnprivileged(flag: string): number {
  const [, , uid, gid] = /^nobody:.*$/m.exec(readFileSync('/etc/passwd', 'utf8'))?.[0].split(':') ?? [];
  return Number(flag === '-u' ? uid : gid);
}

test('a snapshot is mapped by QEMU of the same user where readable, else copied', async () => {
  await using vmm = await startVmm({ args: USER });
  using shell = await boot(vmm, {}, { tools: true });
  await shell.run('echo kept > /tmp/file');
  assertStatus(await vmm.put('vm.pause'), 204);
  const path = folder(vmm, 'snap');
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${path}` }), 204);
  const memory = join(path, 'memory-ranges');
  const { uid, gid, mode } = statSync(memory);
  assert.deepEqual([uid, gid, mode & 0o777], [0, GID, 0o640]);

  for (const isMappable of [true, false]) {
    if (!isMappable) chmodSync(memory, 0o600);
    await using clone = await startVmm({ args: USER });
    assertStatus(await clone.put('vm.restore', { source_url: `file://${path}`, resume: true }), 204);
    const maps = readFileSync(`/proc/${qemuOf(clone.pid)}/maps`, 'utf8');
    assert.equal(maps.includes(memory), isMappable);
    using restored = openShell(await ptyOf(clone));
    assert.equal(await restored.run('cat /tmp/file'), 'kept');
    assertIsUser(qemuOf(clone.pid), UID, GID, /^$/);
  }
});

test('snapshot and restore of a vsock with --user', async () => {
  await using vmm = await startVmm({ args: USER });
  const [here, path] = [join(vmm.folder, 'v'), folder(vmm, 'snap')];
  using shell = await boot(vmm, { vsock: { cid: 7, socket: here } }, { tools: true });
  await startEcho(shell, 16);
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${path}` }), 204);
  assertStatus(await vmm.put('vm.resume'), 204);
  await using clone = await startVmm({ args: USER });
  const there = join(clone.folder, 'v');
  const overrides = { vsock: { cid: 8, socket: there } };
  assertStatus(await clone.put('vm.restore', { source_url: `file://${path}`, overrides, resume: true }), 204);
  for (const socket of [here, there]) {
    assert.match(await exchange(socket, 'CONNECT 16\nhello'), /^OK \d+\nhello$/);
  }
  assertIsUser(qemuOf(clone.pid), UID, GID, /^$/);
});

test('--user 0:<gid> is another user', async () => {
  await using vmm = await startVmm({ args: ['--user', `0:${GID}`] });
  using _shell = await boot(vmm, {}, { tools: true });
  assertIsUser(qemuOf(vmm.pid), 0, GID, /^$/);
});

for (const [text, reason] of [
  ['no-such-user', /^--user no-such-user: there is no such user$/m],
  ['64999', /^--user 64999: there is no such user: give <uid>:<gid>$/m],
  ['a b', /^--user a b: is no name, and no <uid>:<gid>$/m],
  ['--x', /^--user --x: is no name/m],
  ['1:4294967295', /^--user 1:4294967295: is beyond the numbers/m],
] as const) {
  test(`--user ${text} is refused with the reason`, async () => {
    await using vmm = await startVmm({ args: [`--user=${text}`], api: false });
    assert.equal(await vmm.exited, 1);
    assert.match(vmm.output(), reason);
  });
}

test('a VMM of another user than root refuses --user', async () => {
  // the user must be able to read this repository
  const reading = '+dac_override,+dac_read_search';
  const ids = ['--reuid', String(UID), '--regid', String(GID), '--clear-groups'];
  const through = ['setpriv', ...ids, '--inh-caps', reading, '--ambient-caps', reading, '--'];
  await using other = await startVmm({ args: ['--user', 'nobody'], api: false, through });
  assert.equal(await other.exited, 1);
  assert.match(other.output(), /^--user nobody: only root can start QEMU as another user$/m);
});
