// Commands, files and connections of the SDK in one guest, by SSH over its vsock.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { VirtualMachine } from 'nephos';
import { KERNEL } from './support/guest.ts';
import { login } from './support/sdk-guest.ts';
import { sshInitramfs, START_SSH } from './support/ssh-guest.ts';
import { makeFolder } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;

test('commands, files and connections in a guest', async (t) => {
  const folder = makeFolder();
  await using vm = await VirtualMachine.launch(
    {
      cpus: { boot_vcpus: 1, max_vcpus: 1 },
      memory: { size: 512 * MIB },
      kernel: { path: KERNEL },
      initramfs: { path: sshInitramfs(folder) },
      cmdline: { args: 'console=ttyS0' },
      vsock: { cid: 3, socket: join(folder, 'vsock') },
    },
    { guest: { user: 'root' } },
  );
  await login(vm);
  await assert.rejects(vm.exec(['true']), {
    name: 'GuestError',
    fault: 'connect',
    message: /no program listens/,
  });
  vm.serial.write(`${START_SSH}\n`);
  await until('the SSH server answers', async () => (await vm.exec(['true'])).exitCode === 0);

  await t.test('exit codes, signals, stdout and stderr', async () => {
    for (const code of [0, 1, 42, 255]) {
      const result = await vm.exec(`echo out; echo err >&2; exit ${code}`);
      assert.deepEqual(result, { exitCode: code, signal: null, stdout: 'out\n', stderr: 'err\n' });
    }
    assert.deepEqual(await vm.exec('kill -9 $$'), { exitCode: null, signal: 'KILL', stdout: '', stderr: '' });
    const { stdout } = await vm.exec(['sh', '-c', 'echo "$1" $A $(pwd)', 'sh', `it's "quoted"`], {
      env: { A: 'b c' },
      cwd: '/tmp',
    });
    assert.equal(stdout, `it's "quoted" b c /tmp\n`);
  });

  await t.test('an aborted command is dead in the guest', async () => {
    const abort = new AbortController();
    const text = 'trap "" TERM; perl -e "sleep 98765" & perl -e "sleep 98765"; wait';
    const command = vm.exec(text, { signal: abort.signal });
    const alive = async (): Promise<number> => {
      const { stdout } = await vm.exec(`grep -l 'sleep 9876[5]' /proc/[0-9]*/cmdline 2>/dev/null`);
      return stdout.split('\n').length - 1;
    };
    await until('the shell and its children run', async () => (await alive()) === 3);
    abort.abort();
    await assert.rejects(command, { fault: 'aborted' });
    assert.equal(await alive(), 0);
    await assert.rejects(vm.exec(text, { timeoutMs: 1000 }), { fault: 'timeout' });
    assert.equal(await alive(), 0);
  });

  await t.test('twelve commands at the same time', async () => {
    const all = await Promise.all(
      Array.from({ length: 12 }, (_, i) => vm.exec(['sh', '-c', `sleep 0.$((RANDOM % 3)); echo ${i}`])),
    );
    assert.deepEqual(
      all.map(({ stdout }) => Number(stdout)),
      Array.from({ length: 12 }, (_, i) => i),
    );
  });

  await t.test('8 MiB of binary input and output are whole', async () => {
    const block = randomBytes(MIB);
    const [sent, received] = [createHash('sha256'), createHash('sha256')];
    for (let i = 0; i < 8; i++) sent.update(block);
    const input = Readable.from(Array.from({ length: 8 }, () => block));
    await vm.exec(['cat'], { input, onStdout: (bytes) => void received.update(bytes) });
    assert.equal(received.digest('hex'), sent.digest('hex'));
  });

  await t.test('a terminal', async () => {
    const shell = await vm.shell({ pty: { columns: 91, rows: 17 } });
    let shown = '';
    shell.stdout.on('data', (bytes: Buffer) => (shown += bytes.toString()));
    shell.stdin.write('stty size; exit 3\n');
    assert.deepEqual(await shell.exited, { exitCode: 3, signal: null });
    assert.match(shown, /\r\n17 91\r\n/);
  });

  await t.test('a directory there and back', async () => {
    const tree = join(folder, 'tree');
    mkdirSync(join(tree, 'sub'), { recursive: true });
    writeFileSync(join(tree, 'sub', 'run'), '#!/bin/sh\necho from the host\n', { mode: 0o755 });
    symlinkSync('sub/run', join(tree, 'link'));
    await vm.upload(tree, '/tmp/tree');
    assert.equal((await vm.exec(['/tmp/tree/link'])).stdout, 'from the host\n');
    await vm.download('/tmp/tree', join(folder, 'back'));
    assert.equal(readlinkSync(join(folder, 'back', 'link')), 'sub/run');
    assert.equal(statSync(join(folder, 'back', 'sub', 'run')).mode & 0o777, 0o755);
    assert.equal(readFileSync(join(folder, 'back', 'link'), 'utf8'), '#!/bin/sh\necho from the host\n');
  });

  await t.test('a port of the host reaches one of the guest', async () => {
    const server = await vm.spawn(['socat', 'TCP-LISTEN:8080,bind=127.0.0.1,fork,reuseaddr', 'EXEC:rev']);
    const forward = await vm.forward(0, 8080);
    await until('the guest answers', async () => {
      const socket = connect({ port: forward.port, host: forward.address, allowHalfOpen: true });
      socket.end('hello\n');
      return (await buffer(socket)).toString() === 'olleh\n';
    });
    await server.kill();
    await forward[Symbol.asyncDispose]();
  });

  await t.test('another process attaches to the VM, and leaves it alone', async () => {
    {
      await using attached = await VirtualMachine.attach(vm.client.socketPath);
      assert.equal(attached.pid, vm.pid);
      assert.equal((await attached.exec('echo attached')).stdout, 'attached\n');
    }
    assert.equal((await vm.info()).state, 'Running');
  });

  await t.test('the power-off of the guest ends the VM, with its cause', async () => {
    const attached = await VirtualMachine.attach(vm.client.socketPath);
    const ends = [vm.ended, attached.ended];
    await vm.exec(['poweroff']).catch(() => undefined);
    const [own, others] = await Promise.all(ends);
    assert.deepEqual([own?.reason, own?.code, own?.cause], ['exit', 0, 'power-off']);
    assert.equal(others?.cause, 'gone');
    await assert.rejects(vm.exec(['true']), { name: 'GuestError' });
    await attached[Symbol.asyncDispose]();
    await assert.rejects(VirtualMachine.attach(vm.client.socketPath), { name: 'TransportError' });
  });
});
