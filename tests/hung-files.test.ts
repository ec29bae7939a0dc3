// FIFOs without a reader or writer, and file systems that do not answer, at each path of a configuration.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { closeSync, constants, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Answer, assertStatus } from './support/answers.ts';
import { deleteVm } from './support/boot.ts';
import { mkfifoSync } from './support/fifo.ts';
import { guestConfig } from './support/guest.ts';
import { mountHung } from './support/hung-mount.ts';
import { childrenOf } from './support/processes.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const NO_READER = 'is a FIFO that no process reads: start its reader first';

/** Pings while an operation is under way: the API must answer. */
async function meanwhile(
  vmm: TestVmm,
  operation: Promise<Answer>,
): Promise<{ answer: Answer; pings: number }> {
  let isOver = (): boolean => false;
  const done = operation.finally(() => (isOver = () => true));
  let pings = 0;
  while (!isOver()) {
    assertStatus(await vmm.get('vmm.ping'), 200);
    pings += 1;
  }
  return { answer: await done, pings };
}

async function bootWith(vmm: TestVmm, more: Readonly<Record<string, unknown>>) {
  assertStatus(await vmm.put('vm.create', guestConfig(more)), 204);
  return meanwhile(vmm, vmm.put('vm.boot'));
}

test('a FIFO in place of a file is refused by name', async (t) => {
  await using vmm = await startVmm();
  const fifo = join(vmm.folder, 'fifo, "x" ü');
  mkfifoSync(fifo);
  const places: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ kernel: { path: fifo } }, `kernel ${fifo}: is a FIFO`],
    [{ initramfs: { path: fifo } }, `initramfs: ${fifo}: is a FIFO`],
    [{ kernel: undefined, initramfs: undefined, payload: { firmware: fifo } }, `firmware ${fifo}: is a FIFO`],
    [{ disks: [{ path: fifo }] }, `disk _disk0: ${fifo}: is neither a file nor a block device`],
    [
      { disks: [{ path: fifo, readonly: true }] },
      `disk _disk0: ${fifo}: is neither a file nor a block device`,
    ],
    [{ pmem: [{ file: fifo }] }, `pmem _pmem0: ${fifo}: is neither a file, a folder nor a block device`],
    [{ rng: { src: fifo } }, `rng _rng: ${fifo}: is a FIFO`],
    [
      { memory: { size: 0, zones: [{ id: 'z', size: 64 * MIB, file: fifo }] } },
      `memory zone z: ${fifo}: is neither a file nor a directory`,
    ],
    [{ devices: [{ path: fifo }] }, `device _vfio0: ${fifo}: is no PCI device`],
  ];
  for (const [more, message] of places) {
    await deleteVm(vmm);
    await t.test(
      `${Object.keys(more).join()}: ${message.replaceAll(fifo, '<fifo>').slice(0, 60)}`,
      async () => {
        const { answer } = await bootWith(vmm, more);
        assertStatus(answer, 500);
        assert.ok(
          JSON.stringify(answer.json).includes(JSON.stringify(message).slice(1, -1)),
          JSON.stringify(answer.json),
        );
        assertStatus(await vmm.put('vm.delete'), 204);
      },
    );
  }
  assert.deepEqual(childrenOf(vmm.pid), []);
});

test('output to a FIFO without a reader', async (t) => {
  await using vmm = await startVmm();
  const fifo = join(vmm.folder, 'fifo');
  mkfifoSync(fifo);
  for (const which of ['serial', 'console', 'debug_console']) {
    await deleteVm(vmm);
    await t.test(`${which} is refused, and the API answers meanwhile`, async () => {
      const { answer, pings } = await bootWith(vmm, { [which]: { mode: 'File', file: fifo } });
      assertStatus(answer, 500);
      const device = which.replace('_', '-');
      assert.deepEqual(answer.json, ['vm.boot failed', `${device} _${which}: ${fifo}: ${NO_READER}`]);
      assert.ok(pings > 1, 'the API did not answer');
      assertStatus(await vmm.put('vm.delete'), 204);
    });
  }
  await deleteVm(vmm);
  assertStatus(await vmm.put('vm.create', guestConfig({ serial: { mode: 'File', file: fifo } })), 204);
  await t.test('SIGTERM ends the wait for a reader', async () => {
    void vmm.put('vm.boot').catch(() => undefined);
    await until('the boot is waiting', () => vmm.output().includes('vm.boot'));
    vmm.kill('SIGTERM');
    assert.equal(await vmm.exited, 0);
  });
});

test('the serial port writes to a FIFO with a reader, also without a usable HOME', async () => {
  const { NEPHOS_CACHE: _cache, XDG_CACHE_HOME: _xdg, ...env } = process.env;
  const places = { NEPHOS_CACHE: '', XDG_CACHE_HOME: '', HOME: '/proc' };
  await using vmm = await startVmm({ env: { ...env, ...places } });
  const fifo = join(vmm.folder, 'fifo');
  mkfifoSync(fifo);
  const { answer: created } = await meanwhile(
    vmm,
    vmm.put('vm.create', guestConfig({ serial: { mode: 'File', file: fifo } })),
  );
  assertStatus(created, 204);
  const booting = vmm.put('vm.boot');
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    assertStatus(await booting, 204);
    assert.match(vmm.output(), /the cache is not used \(\/proc\/\.cache: /);
    let told = '';
    const part = Buffer.alloc(65_536);
    await until(
      'the guest asks for a login',
      () => {
        told += part.toString('latin1', 0, readSync(reader, part));
        return told.includes('login:');
      },
      () => told.slice(-500),
    );
  } finally {
    closeSync(reader);
  }
});

test('--log-file and --event-monitor refuse a FIFO without a reader', async () => {
  await using holder = await startVmm();
  const fifo = join(holder.folder, 'fifo');
  mkfifoSync(fifo);
  for (const args of [
    ['--log-file', fifo],
    ['--event-monitor', `path=${fifo}`],
  ]) {
    await using vmm = await startVmm({ args, api: false });
    assert.equal(await vmm.exited, 1);
    assert.ok(vmm.output().includes(`${fifo}: ${NO_READER}`), vmm.output());
  }
});

test('a snapshot with a FIFO among its files is refused by name', async () => {
  await using vmm = await startVmm();
  const state = '{}';
  const sha256 = createHash('sha256').update(state).digest('hex');
  const manifest = JSON.stringify({
    format: 1,
    engine: 'QEMU',
    files: { 'state.json': { size: state.length, sha256 }, 'memory-ranges': { size: 4 } },
    regions: [],
  });
  const files: Readonly<Record<string, string>> = {
    'manifest.json': manifest,
    'state.json': state,
    'memory-ranges': '1234',
    'config.json': '{}',
  };
  for (const name of Object.keys(files)) {
    const folder = join(vmm.folder, `with ${name}`);
    mkdirSync(folder);
    for (const [other, text] of Object.entries(files))
      if (other !== name) writeFileSync(join(folder, other), text);
    mkfifoSync(join(folder, name));
    const { answer } = await meanwhile(vmm, vmm.put('vm.restore', { source_url: `file://${folder}` }));
    assertStatus(answer, 500);
    const text = JSON.stringify(answer.json);
    assert.ok(text.includes(folder) && text.includes('is a FIFO: it must be a regular file'), text);
  }
});

test('a file system that does not answer', async (t) => {
  await using vmm = await startVmm();
  using dead = mountHung(join(vmm.folder, 'dead'));
  const kernel = join(dead.path, 'kernel');
  await t.test('is named after a deadline, and the API answers meanwhile', async () => {
    const { answer, pings } = await bootWith(vmm, { kernel: { path: kernel } });
    assertStatus(answer, 500);
    assert.deepEqual(answer.json, [
      'vm.boot failed',
      `kernel ${kernel}: the file system does not answer within 10 s`,
    ]);
    assert.ok(pings > 1, 'the API stood still');
  });
  await t.test('is refused at once afterwards', async () => {
    const again = await vmm.put('vm.boot');
    assert.deepEqual(again.json, [
      'vm.boot failed',
      `kernel ${kernel}: the file system of ${kernel} still does not answer`,
    ]);
  });
  await deleteVm(vmm);
  await t.test('does not delay the exit after SIGTERM', async () => {
    const initramfs = join(dead.path, 'initramfs');
    assertStatus(await vmm.put('vm.create', guestConfig({ initramfs: { path: initramfs } })), 204);
    void vmm.put('vm.boot').catch(() => undefined);
    await until('the boot is waiting', () => vmm.output().split('vm.boot').length > 3);
    vmm.kill('SIGTERM');
    assert.equal(await vmm.exited, 0);
  });
});
