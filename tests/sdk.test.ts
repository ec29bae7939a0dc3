// The SDK against real VMMs; one guest, and three clones of it.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import {
  Client,
  ConsoleError,
  InvalidRequestError,
  LaunchError,
  NotFoundError,
  RequestError,
  TransportError,
  VirtualMachine,
  type TransportFault,
  type VmConfig,
} from 'nephos';
import { openApiDocument } from '../src/api/openapi.ts';
import { startFsBackend } from './support/backends.ts';
import { INITRAMFS, INITRAMFS_WITH_TOOLS, KERNEL } from './support/guest.ts';
import { ip } from './support/host-network.ts';
import { childrenOf, isAlive } from './support/processes.ts';
import { login, run } from './support/sdk-guest.ts';
import { openTap } from './support/tap.ts';
import { call, makeFolder, startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const MAC = '2e:00:00:00:00:51';
const CPUS = { boot_vcpus: 1, max_vcpus: 1 };
const GUEST: VmConfig = {
  cpus: CPUS,
  memory: { size: 256 * MIB },
  kernel: { path: KERNEL },
  initramfs: { path: INITRAMFS },
  cmdline: { args: 'console=ttyS0' },
};

/** Steps of a launch that can be observed in its processes and in the folder of its sockets. */
const MOMENTS: readonly (readonly [string, (pid: number) => boolean])[] = [
  ['a process is there', (pid) => childrenOf(pid).length > 0],
  [
    'the VMM runs',
    (pid) => childrenOf(pid).some(({ command }) => /^\S*node \S*cloud-hypervisor/.test(command)),
  ],
  ['its socket is there', () => readdirSync(tmpdir()).length > 0],
  ['QEMU runs', (pid) => childrenOf(pid).some((vmm) => childrenOf(vmm.pid).length > 0)],
];

/** Fails where a process that uses a folder does not exit; one whose parent was killed may take a moment. */
async function assertNoProcessIn(folder: string): Promise<void> {
  await until('the processes have ended', () => commandLines().every((one) => !one.includes(folder)));
}

function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    });
}

/** Runs `act` with a temporary folder of its own, and fails where a file is left in it. */
async function inEmptyFolder(act: () => Promise<void>): Promise<void> {
  const before = process.env['TMPDIR'];
  const folder = mkdtempSync(join(tmpdir(), 'sdk-'));
  process.env['TMPDIR'] = folder;
  try {
    await act();
    assert.deepEqual(readdirSync(folder), []);
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
    rmSync(folder, { recursive: true });
  }
}

test('the client', async () => {
  await using vmm = await startVmm();
  const client = new Client(vmm.socket, { timeoutMs: 10_000 });
  assert.match((await client.call('vmm.ping')).version, /\d/);
  await assert.rejects(client.call('vm.info'), (error) => {
    assert.ok(error instanceof NotFoundError && error instanceof RequestError);
    assert.deepEqual([error.name, error.status, error.endpoint], ['NotFoundError', 404, 'vm.info']);
    assert.equal(error.reasons[0], 'vm.info failed');
    return true;
  });
  const config = { cpus: { boot_vcpus: 2, max_vcpus: 1 }, kernel: { path: '/none' } };
  await assert.rejects(client.call('vm.create', config), InvalidRequestError);
  await client.call('vm.create', { cpus: CPUS, kernel: { path: '/a, "b"=c' } });
  const { state, config: made } = await client.call('vm.info');
  assert.deepEqual([state, made.kernel.path], ['Created', '/a, "b"=c']);
  assert.equal(await client.call('vm.add-disk', { path: '/d' }), undefined);
  await assert.rejects(
    client.call('vmm.ping', undefined, { signal: AbortSignal.abort() }),
    (error) => error instanceof TransportError && error.fault === 'aborted',
  );
  for (const [name, view] of [
    ['openapi.json', 'contract'],
    ['openapi-everything.json', 'everything'],
  ] as const) {
    const { status, json } = await call(vmm.socket, 'GET', { path: name });
    assert.equal(status, 200);
    assert.deepEqual(json, JSON.parse(JSON.stringify(openApiDocument(view))));
  }
});

test('a launch that fails leaves nothing and says why', async () => {
  await inEmptyFolder(async () => {
    const config = { cpus: CPUS, kernel: { path: '/no such, kernel' } };
    await assert.rejects(
      VirtualMachine.launch(config),
      (error) => error instanceof RequestError && error.message.includes('/no such, kernel'),
    );
    await assert.rejects(VirtualMachine.launch(config, { args: ['--fly'] }), (error) => {
      assert.ok(error instanceof LaunchError);
      return /'--fly'/.test(error.message);
    });
    await assert.rejects(VirtualMachine.launch(config, { executable: '/none' }), LaunchError);
    assert.deepEqual(
      childrenOf(process.pid).filter(({ command }) => /cloud-hypervisor|qemu/.test(command)),
      [],
    );
  });
});

test('an aborted launch leaves nothing, at any moment', async () => {
  await inEmptyFolder(async () => {
    await assert.rejects(VirtualMachine.launch(GUEST, { signal: AbortSignal.abort() }), LaunchError);
    for (const [moment, hasCome] of MOMENTS) {
      const giveUp = new AbortController();
      const launched = VirtualMachine.launch(GUEST, { signal: giveUp.signal });
      launched.catch(() => undefined);
      await until(moment, () => hasCome(process.pid));
      giveUp.abort();
      await assert.rejects(
        launched,
        (error) => error instanceof LaunchError && /was aborted/.test(error.message),
      );
      await assertNoProcessIn(tmpdir());
    }
  });
});

test('a program that is killed at any time leaves nothing', async () => {
  await inEmptyFolder(async () => {
    for (const [moment, hasCome] of MOMENTS) {
      const words = ['build/tests/support/launcher.js', JSON.stringify(GUEST)];
      const program = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'inherit'] });
      const ended = once(program, 'exit');
      await until(moment, () => hasCome(program.pid ?? 0));
      program.kill('SIGKILL');
      await ended;
      await assertNoProcessIn(tmpdir());
      assert.deepEqual(readdirSync(tmpdir()), [], moment);
    }
  });
});

test('VirtualMachine: hot-plug, vsock, resize and time limits', async () => {
  const folder = makeFolder();
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('a, "disk" é.raw'), Buffer.alloc(2 ** 20));
  writeFileSync(at('pmem'), Buffer.alloc(2 ** 21));
  mkdirSync(at('shared'));
  writeFileSync(at('shared/text'), 'from the host');
  using tap = openTap(1);
  await using _fs = startFsBackend(at('fs.sock'), at('shared'));
  await inEmptyFolder(async () => {
    let pids: number[] = [];
    {
      await using vm = await VirtualMachine.launch({
        ...GUEST,
        cpus: { boot_vcpus: 1, max_vcpus: 2 },
        memory: { size: 512 * MIB, shared: true },
        initramfs: { path: INITRAMFS_WITH_TOOLS },
        balloon: { size: 0 },
        vsock: { cid: 5, socket: at('vsock') },
      });
      pids = [vm.pid, ...childrenOf(vm.pid).map((child) => child.pid)];
      assert.ok(pids.length > 1 && pids.every(isAlive), String(pids));
      await login(vm);
      await plug(vm, { at, tap });
      await connections(vm);
      await resizes(vm);
      await limits(vm);
      assert.throws(() => vm.console, /console is no PTY/);
    }
    for (const pid of pids) assert.ok(!isAlive(pid), `process ${pid} is left`);
  });
  rmSync(folder, { recursive: true });
});

async function plug(
  vm: VirtualMachine,
  { at, tap }: { readonly at: (name: string) => string; readonly tap: ReturnType<typeof openTap> },
): Promise<void> {
  const disk = await vm.addDisk({ path: at('a, "disk" é.raw'), image_type: 'Raw', serial: 'sdk' });
  const net = await vm.addNet({ mac: MAC, id: 'net' }, { fds: tap.fds });
  const fs = await vm.addFs({ tag: 'shared', socket: at('fs.sock') });
  const pmem = await vm.addPmem({ file: at('pmem'), size: 2 ** 21 });
  for (const added of [disk, net, fs, pmem]) assert.match(added?.bdf ?? '', /^0000:00:/);
  await run(vm, 'modprobe -a virtio_blk virtio_net virtiofs virtio_pmem nd_pmem; true');
  await run(vm, 'until [ -b /dev/vda ] && [ -e /sys/class/net/eth0 ] && [ -b /dev/pmem0 ]; do :; done');
  assert.equal(await run(vm, 'cat /sys/block/vda/serial'), 'sdk');
  assert.equal(await run(vm, 'cat /sys/class/net/eth0/address'), MAC);
  assert.equal(await run(vm, 'cat /sys/block/pmem0/size'), String(2 ** 21 / 512));
  assert.equal(await run(vm, 'mount -t virtiofs shared /mnt && cat /mnt/text; umount /mnt'), 'from the host');
  // the guest's packets leave by the descriptor's TAP
  ip('addr', 'add', '10.78.1.1/24', 'dev', tap.name);
  await run(vm, 'ip addr add 10.78.1.2/24 dev eth0; ip link set eth0 up');
  const ping = (): Promise<string> => run(vm, 'ping -c 1 -w 2 10.78.1.1');
  await until('the guest reaches the host', async () => / 0% packet loss/.test(await ping()));
  await assert.rejects(vm.addNet({}, { fds: [999_999] }), (error) => {
    assert.ok(error instanceof TransportError);
    return /descriptors 999999 could not be sent: EBADF/.test(error.message);
  });
  assert.equal((await vm.counters())[disk?.id ?? '']?.['write_bytes'], 0);
  await vm.remove(disk?.id ?? '');
  await vm.remove('net');
  await run(vm, 'while [ -b /dev/vda ] || [ -e /sys/class/net/eth0 ]; do :; done');
  await assert.rejects(vm.remove('nobody'), NotFoundError);
}

async function connections(vm: VirtualMachine): Promise<void> {
  await assert.rejects(vm.connect(20), /no program listens on port 20/);
  vm.serial.write('socat -t 60 VSOCK-LISTEN:20,fork EXEC:rev &\n');
  await until('the guest listens', async () => {
    const socket = await vm.connect(20);
    const answer = once(socket, 'data');
    socket.end('hello\n');
    const [bytes] = (await answer) as [Buffer];
    socket.destroy();
    return bytes.toString().trim() === 'olleh';
  });
}

async function resizes(vm: VirtualMachine): Promise<void> {
  await vm.resize({ desired_vcpus: 2, desired_balloon: 64 * MIB });
  const { config } = await vm.info();
  assert.deepEqual([config.cpus.boot_vcpus, config.balloon?.size], [2, 64 * MIB]);
  await until('the balloon is filled', async () => (await vm.info()).memory_actual_size === 448 * MIB);
  await assert.rejects(vm.resize({ desired_vcpus: 3 }), InvalidRequestError);
}

/** Calls that a VMM does not answer, and waits for output that the guest does not write. */
async function limits(vm: VirtualMachine): Promise<void> {
  const isFault = (fault: TransportFault) => (error: unknown) =>
    error instanceof TransportError && error.fault === fault;
  await assert.rejects(
    vm.serial.waitFor('never shown', { timeoutMs: 50 }),
    (error) => error instanceof ConsoleError && error.fault === 'timeout',
  );
  process.kill(vm.pid, 'SIGSTOP');
  try {
    await assert.rejects(vm.info({ timeoutMs: 50 }), isFault('timeout'));
    const giveUp = new AbortController();
    const info = vm.info({ signal: giveUp.signal });
    setImmediate(() => giveUp.abort());
    await assert.rejects(info, isFault('aborted'));
  } finally {
    process.kill(vm.pid, 'SIGCONT');
  }
  await vm.pause();
  assert.equal((await vm.info()).state, 'Paused');
  await vm.resume({ timeoutMs: 60_000 });
}

test('a clone with a disk of its own is Paused until it is resumed', async () => {
  const folder = makeFolder();
  const image = (text: string): string => {
    const path = join(folder, `${text}, disk`);
    writeFileSync(path, text.padEnd(512), 'latin1');
    return path;
  };
  await inEmptyFolder(async () => {
    await using vm = await VirtualMachine.launch({
      ...GUEST,
      disks: [{ path: image('first'), image_type: 'Raw', id: 'data' }],
    });
    await login(vm);
    await vm.snapshot(join(folder, 'snapshot'), { resume: false, timeoutMs: 60_000 });
    assert.equal((await vm.info()).state, 'Paused');
    await using clone = await VirtualMachine.restore(join(folder, 'snapshot'), {
      resume: false,
      prefault: true,
      overrides: { disks: [{ id: 'data', path: image('other') }] },
    });
    assert.equal((await clone.info()).state, 'Paused');
    await clone.resume();
    assert.equal(await run(clone, 'head -c 5 /dev/vda'), 'other');
    await clone.snapshot(join(folder, 'diff'), { type: 'diff', timeoutMs: 60_000 });
    const [full, diff] = ['snapshot', 'diff'].map(
      (name) => statSync(join(folder, name, 'memory-ranges')).blocks,
    );
    assert.ok((diff ?? 0) < (full ?? 0) / 2, `blocks of the snapshots: ${full}, ${diff}`);
    const phases = new Set<string>();
    const onProgress = ({ phase }: { readonly phase?: string }): void => void phases.add(phase ?? '');
    await clone.snapshot(join(folder, 'whole'), { type: 'diff', compose: true, onProgress });
    assert.equal((await clone.info()).state, 'Running');
    const manifest = JSON.parse(readFileSync(join(folder, 'whole/manifest.json'), 'utf8'));
    assert.deepEqual([manifest.base, phases.has('composing a full snapshot')], [undefined, true]);
    const unknown = { overrides: { disks: [{ id: 'unknown', path: '/x' }] } };
    await assert.rejects(VirtualMachine.restore(join(folder, 'snapshot'), unknown), NotFoundError);
  });
  rmSync(folder, { recursive: true });
});

test('the example: a guest, a snapshot, three clones', async () => {
  await inEmptyFolder(async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['build/examples/clones.js', KERNEL, INITRAMFS],
      { timeout: 240_000 },
    );
    const lines = stdout.trim().split('\n');
    assert.match(lines[0] ?? '', /^Linux 6\./);
    assert.deepEqual(lines.slice(1), ['clone one: 42', 'clone two: 42', 'clone three: 42']);
  });
});
