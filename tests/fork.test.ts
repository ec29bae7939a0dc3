// vm.fork of the SDK: clones of a running VM with disks, ports and sockets of their own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { NotFoundError, VirtualMachine } from 'nephos';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { login, run } from './support/sdk-guest.ts';
import { sshInitramfs, START_SSH } from './support/ssh-guest.ts';
import { makeFolder } from './support/vmm.ts';
import { until } from './support/wait.ts';

const GUEST = {
  cpus: { boot_vcpus: 1, max_vcpus: 1 },
  memory: { size: 2 ** 28 },
  kernel: { path: KERNEL },
  initramfs: { path: INITRAMFS },
  cmdline: { args: 'console=ttyS0' },
};

/** Folders of forks; other programs may have some as well. */
function forkFolders(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('nephos-fork-'));
}

test('clones of a running VM continue with disks, ports and sockets of their own', async (t) => {
  const folder = makeFolder();
  const [raw, base, overlay] = ['raw', 'base', 'overlay'].map((name) => join(folder, name));
  assert.ok(raw !== undefined && base !== undefined && overlay !== undefined);
  for (const path of [raw, base]) writeFileSync(path, 'original'.padEnd(2 ** 20), 'latin1');
  // a relative backing file, as qemu-img writes it
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'raw', 'overlay'], {
    cwd: folder,
  });
  try {
    await using vm = await VirtualMachine.launch({
      ...GUEST,
      console: { mode: 'File', file: join(folder, 'console.log') },
      disks: [{ path: raw }, { path: overlay, image_type: 'Qcow2' }],
      net: [{ backend: 'user', forwards: [{ host_port: 0, guest_port: 22 }] }],
      vsock: { cid: 5, socket: join(folder, 'vsock.sock') },
    });
    await login(vm);
    await run(vm, 'x=42; printf written1 >/dev/vda; printf written2 >/dev/vdb; sync');
    const clones = await vm.fork(2);
    const configs = await Promise.all([vm, ...clones].map(async (one) => (await one.info()).config));
    await t.test('the VM runs on, and so do its clones', async () => {
      assert.equal((await vm.info()).state, 'Running');
      for (const clone of clones) assert.equal(await run(clone, 'echo $x'), '42');
    });
    await t.test('each has its own socket, CID, port and file', () => {
      const values: unknown[][] = [
        configs.map(({ vsock }) => vsock?.socket),
        configs.map(({ vsock }) => vsock?.cid),
        configs.map(({ net }) => net?.[0]?.forwards?.[0]?.host_port),
        configs.map(({ console }) => console.file),
      ];
      for (const each of values) assert.equal(new Set(each).size, 3, JSON.stringify(each));
    });
    await t.test('each has the disks of the moment of the fork, and writes to its own', async () => {
      for (const [i, clone] of clones.entries()) {
        const disks = await run(clone, 'head -c 8 /dev/vda; head -c 8 /dev/vdb');
        assert.equal(disks, 'written1written2');
        await run(clone, `printf clone-${i} >/dev/vda; printf clone-${i} >/dev/vdb; sync`);
      }
      for (const [i, clone] of clones.entries()) {
        const command = 'echo 3 >/proc/sys/vm/drop_caches; head -c 7 /dev/vda; head -c 7 /dev/vdb';
        assert.equal(await run(clone, command), `clone-${i}clone-${i}`);
      }
      assert.equal(readFileSync(raw, 'latin1').slice(0, 8), 'written1');
      assert.equal(readFileSync(base, 'latin1').slice(0, 8), 'original');
    });
    await t.test('the files of the clones are removed with the last one', async () => {
      const [, first] = configs;
      const home = dirname(dirname(first?.disks?.[0]?.path ?? ''));
      assert.match(home, /nephos-fork-/);
      assert.ok(existsSync(home));
      for (const clone of clones) await clone[Symbol.asyncDispose]();
      assert.ok(!existsSync(home));
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Identity of a guest, as a text; random numbers of the kernel differ in any case. */
const IDENTITY = 'hostname; cat /etc/hostname /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub';

/** Command that makes a host key; one of RSA takes seconds in an emulated guest. */
const MAKE_KEY = 'ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key';

test('clones of a guest with an SSH server have an identity of their own', async (t) => {
  const folder = makeFolder();
  try {
    const initramfs = { path: sshInitramfs(folder, '/usr/bin/ssh-keygen') };
    await using vm = await VirtualMachine.launch({
      ...GUEST,
      initramfs,
      vsock: { cid: 5, socket: join(folder, 'vsock.sock') },
    });
    await login(vm);
    await run(vm, `${START_SSH} mkdir -p /etc/ssh; ${MAKE_KEY}; hostname >/etc/hostname`);
    await until('the SSH server answers', async () => (await vm.exec(['true'])).exitCode === 0);
    await run(vm, 'echo 0123456789abcdef0123456789abcdef >/etc/machine-id; date -s 2020-01-01');
    const before = (await vm.exec(IDENTITY)).stdout.split('\n');
    const named = await vm.fork(2, { hostname: (index) => `clone-${index}` });
    await t.test('name, machine-id and host keys, and the time of the host', async () => {
      const all = [before];
      for (const [index, clone] of named.entries()) {
        const { stdout } = await clone.exec(`${IDENTITY}; date +%s`);
        const [name, file, ...rest] = stdout.split('\n');
        assert.deepEqual([name, file], [`clone-${index}`, `clone-${index}`]);
        assert.ok(Math.abs(Number(rest.at(-2)) - Date.now() / 1000) < 60, stdout);
        all.push([name ?? '', file ?? '', ...rest]);
      }
      for (const line of [0, 1, 2, 3]) assert.equal(new Set(all.map((one) => one[line])).size, 3, `${line}`);
      assert.equal((await vm.exec(IDENTITY)).stdout, before.join('\n'));
    });
    await t.test('a clone of a clone has another name; without an identity it has the same', async () => {
      const [first] = named;
      assert.ok(first !== undefined);
      const own = await first.fork(1);
      const same = await first.fork(1, { identity: false });
      const [name, copied] = await Promise.all([...own, ...same].map((one) => run(one, 'hostname')));
      assert.match(name ?? '', /^clone-0-[\da-f]{8}$/);
      assert.equal(copied, 'clone-0');
      for (const one of [...own, ...same, ...named]) await one[Symbol.asyncDispose]();
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a fork that fails leaves no clone, no file, and the VM running', async () => {
  await using vm = await VirtualMachine.launch({ ...GUEST, net: [{ backend: 'user', id: 'nat' }] });
  await login(vm);
  const before = forkFolders();
  const overrides = (): object => ({ disks: [{ id: 'unknown', path: '/x' }] });
  await assert.rejects(vm.fork(2, { overrides }), NotFoundError);
  assert.equal((await vm.info()).state, 'Running');
  assert.deepEqual(forkFolders(), before);
});
