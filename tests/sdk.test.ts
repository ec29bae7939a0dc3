// The SDK against real VMMs; one guest, and three clones of it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
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
} from 'nephos';
import { openApiDocument } from '../src/api/openapi.ts';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { childrenOf, isAlive } from './support/host.ts';
import { call, startVmm } from './support/vmm.ts';

const CPUS = { boot_vcpus: 1, max_vcpus: 1 };

/** Runs `act` with a temporary folder of its own, and fails where something is left in it. */
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

test('the client: answers, errors by class, time limits; the document is served', async () => {
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

test('a machine is used and ended', async () => {
  await inEmptyFolder(async () => {
    let pids: number[] = [];
    {
      await using vm = await VirtualMachine.launch({
        cpus: CPUS,
        memory: { size: 256 * 2 ** 20 },
        kernel: { path: KERNEL },
        initramfs: { path: INITRAMFS },
        cmdline: { args: 'console=ttyS0' },
      });
      const { pid } = vm;
      pids = [pid, ...childrenOf(pid).map((child) => child.pid)];
      assert.ok(pids.length > 1 && pids.every(isAlive), String(pids));
      await vm.serial.waitFor(/Linux version 6\.\S+/, { timeoutMs: 120_000 });
      await assert.rejects(
        vm.serial.waitFor('never shown', { timeoutMs: 50 }),
        (error) => error instanceof ConsoleError && error.fault === 'timeout',
      );
      await vm.pause();
      assert.equal((await vm.info()).state, 'Paused');
      await vm.resume();
      const image = join(tmpdir(), 'a, disk.raw');
      writeFileSync(image, Buffer.alloc(2 ** 20));
      const disk = await vm.addDisk({ path: image, image_type: 'Raw' });
      assert.equal((await vm.counters())[disk?.id ?? '']?.['write_bytes'], 0);
      rmSync(image);
      const added = await vm.addVsock({ cid: 3, socket: join(tmpdir(), 'vsock') });
      assert.match(added?.bdf ?? '', /^0000:00:/);
      await assert.rejects(vm.remove('nobody'), NotFoundError);
      assert.throws(() => vm.console, /console is no PTY/);
    }
    for (const pid of pids) assert.ok(!isAlive(pid), `process ${pid} is left`);
  });
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
