// File systems that a program serves to a guest: one guest, with a share from its boot on and hot-plugged ones.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { archive, FsError, memoryTree, overlay, serveFs, VirtualMachine, type FsProvider } from 'nephos';
import { tarOf } from '../src/backends/fs-provider/archive/test-archives.ts';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { login, run } from './support/sdk-guest.ts';
import { makeFolder } from './support/vmm.ts';
import { until } from './support/wait.ts';

const CONFIG = {
  cpus: { boot_vcpus: 1, max_vcpus: 1 },
  memory: { size: 256 * 2 ** 20, shared: true },
  kernel: { path: KERNEL },
  initramfs: { path: INITRAMFS },
  cmdline: { args: 'console=ttyS0' },
};

/** Hot-plugs a provider and mounts it. @returns the id of the device */
async function mount(vm: VirtualMachine, tag: string, provider: FsProvider, serve = {}): Promise<string> {
  const added = await vm.addFs({ tag, provider, serve });
  await until(`${tag} is mounted`, async () =>
    (
      await run(vm, `mkdir -p /${tag}; mount -t virtiofs ${tag} /${tag} 2>/dev/null && echo mounted`)
    ).endsWith('mounted'),
  );
  return added?.id ?? '';
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

test('providers of a program', async (t) => {
  const tree = memoryTree({ 'etc/hosts': 'text of a host\n', large: randomBytes(3_000_001), 'out/': '' });
  await using share = await serveFs({ tag: 'boot', provider: tree });
  await using vm = await VirtualMachine.launch({ ...CONFIG, fs: [share.config] });
  await login(vm);
  await run(vm, 'mkdir /boot; mount -t virtiofs boot /boot');

  await t.test('a guest reads and writes a tree in memory', async () => {
    assert.equal(await run(vm, 'cat /boot/etc/hosts'), 'text of a host');
    const [sum] = (await run(vm, 'sha256sum /boot/large')).split(' ');
    assert.equal(sum, sha256(tree.readFile('large') ?? Buffer.alloc(0)));
    await run(vm, 'cd /boot/out; echo one > a; mkdir d; mv a d/b; ln d/b c; ln -s d/b s; chmod 711 d; cd /');
    await run(vm, 'dd if=/dev/urandom of=/boot/out/big bs=64k count=40 2>/dev/null; rm /boot/etc/hosts');
    assert.deepEqual(tree.paths(), ['large', 'out/big', 'out/c', 'out/d/b', 'out/s']);
    assert.equal(String(tree.readFile('out/c')), 'one\n');
    const [written] = (await run(vm, 'sha256sum /boot/out/big')).split(' ');
    assert.equal(written, sha256(tree.readFile('out/big') ?? Buffer.alloc(0)));
    assert.equal(
      await run(vm, 'stat -c "%a %h %F" /boot/out/d /boot/out/c'),
      '711 2 directory\n644 2 regular file',
    );
    tree.writeFile('etc/new', 'by the program\n');
    assert.equal(await run(vm, 'cat /boot/etc/new'), 'by the program');
  });

  await t.test('a gzipped tar file is mounted', async () => {
    const folder = makeFolder();
    try {
      const content = randomBytes(500_000);
      const path = join(folder, 'a.tar.gz');
      const link = { name: 'usr/link', flag: '2', target: 'bin/tool' };
      writeFileSync(path, gzipSync(tarOf({ name: 'usr/bin/tool', content, mode: 0o755 }, link)));
      await using files = await archive(path);
      const id = await mount(vm, 'tar', files);
      assert.equal(
        await run(vm, 'sha256sum < /tar/usr/link; ls -1 /tar/usr'),
        `${sha256(content)}  -\nbin\nlink`,
      );
      assert.match(await run(vm, 'echo x > /tar/usr/x'), /Read-only file system/);
      await run(vm, 'umount /tar');
      await vm.remove(id);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  await t.test('writes of a guest go to the upper directory of an overlay', async () => {
    const folder = makeFolder();
    try {
      const [lower, upper] = [join(folder, 'lower'), join(folder, 'upper')];
      mkdirSync(join(lower, 'd/e'), { recursive: true });
      mkdirSync(upper);
      const content = randomBytes(300_000);
      for (const name of ['a', 'd/b', 'd/e/c']) writeFileSync(join(lower, name), content);
      await using files = await overlay({ lower, upper });
      const id = await mount(vm, 'over', files);
      const commands = [
        'cd /over',
        'echo more >> a',
        'rm d/b',
        'mv d/e/c moved',
        'rmdir d/e',
        'mkdir d/e',
        'echo new > d/e/new',
        'chmod 700 d',
        'mkdir -p x/y',
        'mv x z',
        'ls -1R | grep -v ^$',
        'wc -c < a',
        'cd /',
        'umount /over',
      ];
      const listed = await run(vm, commands.join('; '));
      assert.equal(listed, '.:\na\nd\nmoved\nz\n./d:\ne\n./d/e:\nnew\n./z:\ny\n./z/y:\n300005');
      await vm.remove(id);
      for (const name of ['a', 'd/b', 'd/e/c'])
        assert.ok(readFileSync(join(lower, name)).equals(content), name);
      assert.ok(readFileSync(join(upper, 'moved')).equals(content));
      assert.deepEqual(readdirSync(lower).toSorted(), ['a', 'd']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  await t.test('a provider that throws or does not settle fails single requests', async () => {
    const faults: unknown[] = [];
    const signals: AbortSignal[] = [];
    const kinds = ['full', 'broken', 'hangs', 'works', 'unsized'];
    const provider: FsProvider<string> = {
      root: '/',
      lookup: (_, name) => kinds.find((one) => one === name),
      getattr: (node) =>
        node === '/' ? { type: 'directory' } : { type: 'file', ...(node !== 'unsized' && { size: 5 }) },
      readdir: () => kinds.map((name) => ({ name, node: name })),
      read: (node, { offset }, { signal }) => {
        if (node === 'full') throw new FsError('ENOSPC');
        if (node === 'broken') throw new TypeError('a mistake');
        if (node === 'hangs') signals.push(signal);
        return node === 'hangs'
          ? new Promise<never>(() => undefined)
          : Buffer.from('fine\n').subarray(offset);
      },
    };
    const id = await mount(vm, 'faulty', provider, {
      timeoutMs: 1000,
      onFault: (error: unknown) => faults.push(error),
    });
    assert.match(await run(vm, 'cat /faulty/full'), /No space left/);
    assert.match(await run(vm, 'cat /faulty/broken'), /Input\/output error/);
    assert.match(String(faults[0]), /^TypeError: a mistake$/);
    assert.match(
      await run(vm, 'cat /faulty/hangs & cat /faulty/works; wait'),
      /^fine$[^]*Input\/output error/m,
    );
    assert.equal(signals[0]?.aborted, true);
    // `sendfile` of cat reads as many bytes as the size says
    assert.equal(await run(vm, 'dd if=/faulty/unsized 2> /dev/null'), 'fine');
    assert.equal((await vm.info({ timeoutMs: 5000 })).state, 'Running');
    await run(vm, 'umount /faulty');
    await vm.remove(id);
  });

  await t.test('a request that is pending while the VM is paused is completed after it', async () => {
    let finish: (bytes: Uint8Array) => void = () => undefined;
    const provider: FsProvider<string> = {
      root: '/',
      lookup: (_, name) => (name === 'slow' ? 'slow' : undefined),
      getattr: (node) => (node === '/' ? { type: 'directory' } : { type: 'file', size: 5 }),
      readdir: () => [{ name: 'slow' }],
      read: () => new Promise((resolve) => (finish = resolve)),
    };
    const id = await mount(vm, 'slow', provider);
    const before = finish;
    const read = run(vm, 'cat /slow/slow; echo');
    await until('the read is pending', () => finish !== before);
    // the program waits meanwhile: the thread of the share answers QEMU
    const words = ['--api-socket', vm.client.socketPath, 'pause'];
    assert.equal(spawnSync('bin/ch-remote', words, { timeout: 60_000 }).status, 0);
    finish(Buffer.from('slow\n'));
    await vm.resume();
    // a read whose result had no buffers is made again
    await until('the read is complete', () => {
      finish(Buffer.from('slow\n'));
      return Promise.race([
        read.then(() => true),
        new Promise<false>((resolve) => setTimeout(resolve, 20, false)),
      ]);
    });
    assert.equal(await read, 'slow');
    await run(vm, 'umount /slow');
    await vm.remove(id);
  });

  await t.test('a removed device ends the use of its provider, and its socket is gone', async () => {
    const hot = memoryTree({ a: 'x' });
    let closed = 0;
    const id = await mount(vm, 'hot', Object.assign(hot, { forget: () => void closed++ }));
    const { config } = await vm.info();
    const socket = config.fs?.find((one) => one.id === id)?.socket ?? '';
    assert.equal(existsSync(socket), true);
    await run(vm, 'cat /hot/a; umount /hot');
    await vm.remove(id);
    await until('the directory of the socket is removed', () => !existsSync(dirname(socket)));
    assert.ok(closed > 0);
  });

  await t.test('inode numbers survive a reboot of the guest', async () => {
    const numbers = 'ls -i /boot /boot/out';
    const before = await run(vm, numbers);
    await vm.reboot();
    await login(vm);
    await run(vm, 'mkdir /boot; mount -t virtiofs boot /boot');
    assert.equal(await run(vm, numbers), before);
  });

  await t.test('a share that is closed while it is mounted fails requests, and nothing hangs', async () => {
    await share.close();
    assert.equal(existsSync(share.config.socket), false);
    assert.match(await run(vm, 'cat /boot/large > /dev/null; ls /boot'), /not connected[^]*not connected/);
    assert.equal((await vm.info({ timeoutMs: 5000 })).state, 'Running');
    await run(vm, 'umount /boot');
    await vm.pause();
    await vm.resume();
  });
});

test('the example shares a directory of a program with a guest', async () => {
  const folder = makeFolder();
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['build/examples/shared-files.js', KERNEL, INITRAMFS],
    { timeout: 240_000, env: { ...process.env, TMPDIR: folder } },
  );
  assert.match(stdout, /^the guest wrote: Linux \d/);
});
