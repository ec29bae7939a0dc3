// An engine that is another user's: what it may do, as the host's kernel tells it, and what it then still can.
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guestConfig, INITRAMFS, KERNEL } from './support/guest.ts';
import { childrenOf, descriptorsOf, isAlive, qemuOf } from './support/processes.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { until } from './support/wait.ts';
import { assertStatus, startVmm, type TestVmm } from './support/vmm.ts';
import { exchange, startEcho } from './support/vsock.ts';

const MIB = 2 ** 20;
/** Nobody is called so. */
const [UID, GID] = [64_123, 64_124];
const USER = ['--user', `${UID}:${GID}`];

function statusOf(pid: number, name: string): string {
  return (
    new RegExp(`^${name}:[\\t ]*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? ''
  );
}

/** The kernel's word on a process: who it is, and that it is nothing else. */
function assertIsUser(pid: number, uid: number, gid: number, groups: RegExp): void {
  assert.equal(statusOf(pid, 'Uid'), Array(4).fill(uid).join('\t'));
  assert.equal(statusOf(pid, 'Gid'), Array(4).fill(gid).join('\t'));
  assert.match(statusOf(pid, 'Groups').trim(), groups);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
    assert.match(statusOf(pid, set), /^0+$/, set);
  }
  assert.equal(statusOf(pid, 'NoNewPrivs'), '1');
}

function image(path: string, text: string, owner = 0): string {
  writeFileSync(path, text);
  truncateSync(path, 4 * MIB);
  chmodSync(path, 0o600);
  chownSync(path, owner, owner);
  return path;
}

function folder(vmm: TestVmm, name: string): string {
  const path = join(vmm.folder, name);
  mkdirSync(path, { mode: 0o700 });
  return path;
}

async function boot(vmm: TestVmm, more: Readonly<Record<string, unknown>>): Promise<Shell> {
  assertStatus(await vmm.put('vm.create', guestConfig(more, { tools: true })), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const shell = openShell(await ptyOf(vmm));
  await shell.login();
  return shell;
}

test('an engine of another user has nothing of root, and a guest with all that the VMM opens for it', async () => {
  await using vmm = await startVmm({ args: USER });
  chmodSync(vmm.folder, 0o711);
  const disk = image(join(vmm.folder, 'its own, "é"'), 'its own', UID);
  const foreign = image(join(vmm.folder, 'foreign'), 'foreign');
  const socket = join(vmm.folder, 'v');
  // what the machine starts from is in a folder that only root may enter, in files that only root may read
  const boots = folder(vmm, 'boots');
  const [kernel, initramfs] = [join(boots, 'kernel'), join(boots, 'initramfs')];
  writeFileSync(kernel, readFileSync(KERNEL), { mode: 0o600 });
  writeFileSync(initramfs, readFileSync(INITRAMFS), { mode: 0o600 });
  assertStatus(
    await vmm.put('vm.create', guestConfig({ kernel: { path: kernel }, initramfs: { path: initramfs } })),
    204,
  );
  assertStatus(await vmm.put('vm.boot'), 204);
  {
    using shell = openShell(await ptyOf(vmm));
    await shell.login();
  }
  assertStatus(await vmm.put('vm.delete'), 204);

  using shell = await boot(vmm, {
    disks: [{ path: disk }],
    net: [{ ip: '10.91.77.1', mask: '255.255.255.0' }],
    vsock: { cid: 7, socket },
    platform: { serial_number: 'a, "b"' },
    balloon: { size: 0 },
  });
  assertIsUser(qemuOf(vmm.pid), UID, GID, /^$/);
  assert.equal(await shell.run('head -c 7 /dev/vda; cat /sys/class/dmi/id/product_serial'), 'its owna, "b"');
  await shell.run('ip addr add 10.91.77.2/24 dev eth0; ip link set eth0 up');
  assert.match(await shell.run('ping -c 2 -W 20 10.91.77.1'), / 0% packet loss/);
  await startEcho(shell, 16);
  assert.match(await exchange(socket, 'CONNECT 16\nhello'), /^OK \d+\nhello$/);

  // what it may not open is refused, with the user that may not
  const open = descriptorsOf(vmm.pid).length;
  const answer = await vmm.put('vm.add-disk', { path: foreign });
  assertStatus(answer, 500);
  assert.match(
    (answer.json as string[]).join(': '),
    new RegExp(`disk _disk\\d+: .*${foreign}.*Permission denied \\(to user ${UID}:${GID}, .*--user\\)`),
  );
  await until('nothing is left open', () => descriptorsOf(vmm.pid).length <= open);
  chownSync(foreign, UID, -1);
  assertStatus(await vmm.put('vm.add-disk', { path: foreign, readonly: true }), 200);
  await shell.run('until [ -b /dev/vdb ]; do :; done');
  assert.equal(await shell.run('head -c 7 /dev/vdb'), 'foreign');
  assertStatus(await vmm.put('vm.coredump', { destination_url: `file://${vmm.folder}/core` }), 204);
  assert.ok(statSync(join(vmm.folder, 'core')).size > 256 * MIB);

  // the next machine as well, and it ends with the VMM whatever ends that
  assertStatus(await vmm.put('vm.reboot'), 204);
  const qemu = qemuOf(vmm.pid);
  assertIsUser(qemu, UID, GID, /^$/);
  vmm.kill('SIGKILL');
  await until('the engine has ended', () => !isAlive(qemu));
});

test('a user by name keeps its groups; a boot with what it may not open leaves nothing', async () => {
  await using vmm = await startVmm({ args: ['--user', 'nobody'] });
  chmodSync(vmm.folder, 0o711);
  const foreign = image(join(vmm.folder, 'foreign'), 'foreign');
  assertStatus(await vmm.put('vm.create', guestConfig({ disks: [{ path: foreign }] })), 204);
  const answer = await vmm.put('vm.boot');
  assertStatus(answer, 500);
  assert.match((answer.json as string[]).join(': '), /disk _disk0: .*\(to user nobody, .*--user\)/);
  assert.deepEqual(childrenOf(vmm.pid), []);
  assertStatus(await vmm.put('vm.delete'), 204);
  assertStatus(await vmm.put('vm.create', guestConfig({})), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const [uid = NaN, gid = NaN] = ['-u', '-g'].map((flag) => idOfNobody(flag));
  assertIsUser(qemuOf(vmm.pid), uid, gid, new RegExp(`^${gid}\\b`));
});

/** From the list of users, which on a test machine is this file. */
function idOfNobody(flag: string): number {
  const [, , uid, gid] = /^nobody:.*$/m.exec(readFileSync('/etc/passwd', 'utf8'))?.[0].split(':') ?? [];
  return Number(flag === '-u' ? uid : gid);
}

test('snapshots: an engine maps those of a VMM with the same user, and gets a copy of others', async () => {
  await using vmm = await startVmm({ args: USER });
  using shell = await boot(vmm, {});
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

test('a vsock device goes and comes with the snapshots of an engine of another user', async () => {
  await using vmm = await startVmm({ args: USER });
  const [here, path] = [join(vmm.folder, 'v'), folder(vmm, 'snap')];
  using shell = await boot(vmm, { vsock: { cid: 7, socket: here } });
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

test('the VMM’s own user in another group is another user', async () => {
  await using vmm = await startVmm({ args: ['--user', `0:${GID}`] });
  using _shell = await boot(vmm, {});
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

test('who is not root can only be told its own user', async () => {
  // it must read this repository, wherever that is
  const reading = '+dac_override,+dac_read_search';
  const ids = ['--reuid', String(UID), '--regid', String(GID), '--clear-groups'];
  const through = ['setpriv', ...ids, '--inh-caps', reading, '--ambient-caps', reading, '--'];
  await using other = await startVmm({ args: ['--user', 'nobody'], api: false, through });
  assert.equal(await other.exited, 1);
  assert.match(other.output(), /^--user nobody: only root can start QEMU as another user$/m);
});
