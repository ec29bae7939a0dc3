// The event monitor: a guest's life as another program is told of it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { boot } from './support/boot.ts';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { createImage } from './support/images.ts';
import { waitsForVm } from './support/migration.ts';
import { until } from './support/wait.ts';
import { assertStatus, makeFolder, startVmm, type TestVmm } from './support/vmm.ts';

interface MonitoredEvent {
  readonly timestamp: { readonly secs: number; readonly nanos: number };
  readonly source: string;
  readonly event: string;
  readonly properties: Readonly<Record<string, string>> | null;
}

/** Objects, each indented by two and followed by a blank line: read as strictly as libvirt does. */
function parse(text: string): MonitoredEvent[] {
  const texts = text.split('\n\n');
  assert.equal(texts.pop(), '');
  return texts.map((one) => {
    const event = JSON.parse(one) as MonitoredEvent;
    assert.equal(one, JSON.stringify(event, undefined, 2));
    assert.deepEqual(Object.keys(event), ['timestamp', 'source', 'event', 'properties']);
    assert.deepEqual(Object.keys(event.timestamp), ['secs', 'nanos']);
    return event;
  });
}

function named({ source, event, properties }: MonitoredEvent): string {
  const details = Object.values(properties ?? {}).join(' ');
  return `${source}/${event}${details === '' ? '' : ` ${details}`}`;
}

const isTurn = (name: string): boolean => !name.startsWith('virtio-device/');

/** A file system with room for 1 MiB. */
function smallFileSystem(path: string): Disposable & { readonly path: string } {
  mkdirSync(path);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1M', 'small', path]);
  return { path, [Symbol.dispose]: () => void execFileSync('umount', ['-l', path]) };
}

test('a life from boot to delete is told in order, and in the log', async () => {
  const folder = makeFolder();
  const path = join(folder, 'events, "all" ü.json');
  await using vmm = await startVmm({ args: ['--event-monitor', `path=${path}`] });
  const names = (): string[] => parse(readFileSync(path, 'utf8')).map(named);
  const sees = (name: string): Promise<void> =>
    until(
      name,
      () => names().includes(name),
      () => names().join('\n'),
    );
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(names(), ['vmm/starting']);

  using full = smallFileSystem(join(vmm.folder, 'full'));
  const image = createImage(join(full.path, 'disk.raw'), '16M', ['-f', 'raw']);
  using shell = await boot(vmm, { disks: [{ path: image }], balloon: { size: 0 } });
  for (const id of ['_disk0', '_rng', '_balloon']) await sees(`virtio-device/activated ${id}`);
  assert.deepEqual(names().filter(isTurn), ['vmm/starting', 'vm/booting', 'vm/booted']);

  assertStatus(
    await vmm.put('vm.add-disk', {
      id: 'more',
      path: createImage(join(vmm.folder, 'more'), '1M', ['-f', 'raw']),
    }),
    200,
  );
  await sees('virtio-device/activated more');
  assertStatus(await vmm.put('vm.remove-device', { id: 'more' }), 204);
  await sees('virtio-device/reset more');
  await until(
    'the device is gone',
    () => names().some((name) => name.startsWith('vm/device-removed more 0000:00:0')),
    () => names().join('\n'),
  );

  await shell.run('dd if=/dev/zero of=/dev/vda bs=1M count=8 conv=fsync');
  await sees('virtio-device/block-io-error _disk0 write');
  assert.equal(await shell.run('echo alive'), 'alive');

  for (const name of ['resize', 'pause', 'snapshot', 'resume'] as const) {
    const saved = join(vmm.folder, 'saved');
    if (name === 'snapshot') mkdirSync(saved);
    const body = { resize: { desired_balloon: 2 ** 20 }, snapshot: { destination_url: `file://${saved}` } };
    assertStatus(
      await vmm.put(`vm.${name}`, name in body ? body[name as keyof typeof body] : undefined),
      204,
    );
  }
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  assertStatus(await vmm.put('vm.shutdown'), 204);
  assertStatus(await vmm.put('vm.delete'), 204);
  const told = names().length;
  await assertRestoreEvents(vmm, names);
  assertStatus(await vmm.put('vmm.shutdown'), 204);
  assert.equal(await vmm.exited, 0);

  const restored = ['vm/restoring', 'vm/restored', 'vm/shutdown', 'vm/deleted'];
  const turns = [
    ...['vmm/starting', 'vm/booting', 'vm/booted'],
    ...['vm/device-removed more 0000:00:05.0', 'vm/resizing', 'vm/resized', 'vm/pausing', 'vm/paused'],
    ...['vm/snapshotting', 'vm/snapshotted', 'vm/resuming', 'vm/resumed'],
    ...['vm/shutdown', 'vm/booting', 'vm/booted', 'vm/shutdown', 'vm/deleted'],
    ...[...restored, ...restored, 'vmm/shutdown'],
  ];
  assert.deepEqual(names().filter(isTurn), turns);
  const boots = names().slice(0, told);
  assert.equal(boots.filter((name) => name === 'virtio-device/activated _disk0').length, 2);
  for (const name of turns)
    assert.ok(vmm.output().includes(`INFO:event -- ${name.split(' ')[0]?.replace('/', ' ')}`), name);
  const times = parse(readFileSync(path, 'utf8')).map(({ timestamp: { secs, nanos } }) => secs + nanos / 1e9);
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
  assert.ok((times[0] ?? 1) < 0.5, 'time does not count from the start');
  rmSync(folder, { recursive: true });
});

test('a VM with payload that is received is told of in the order of its dialect, and not before it comes', async () => {
  await using source = await startVmm();
  const record = join(source.folder, 'events.json');
  await using vmm = await startVmm({ args: ['--event-monitor', `path=${record}`] });
  const names = (): string[] => parse(readFileSync(record, 'utf8')).map(named);
  const payload = { kernel: KERNEL, initramfs: INITRAMFS, cmdline: 'console=ttyS0' };
  using _shell = await boot(source, { payload, kernel: undefined, initramfs: undefined, cmdline: undefined });
  const url = `unix:${join(source.folder, 'link')}`;
  const receiving = vmm.put('vm.receive-migration', { receiver_url: url });
  await waitsForVm(vmm, url);
  assert.ok(!names().includes('vm/restoring'));
  assertStatus(await source.put('vm.send-migration', { destination_url: url }), 204);
  assertStatus(await receiving, 204);
  const seen = names().filter((name) => name.startsWith('v') && !name.startsWith('vmm/'));
  assert.deepEqual(seen, [
    'virtio-device/activated __rng',
    ...['vm/restoring', 'vm/restored', 'vm/resuming', 'vm/resumed'],
  ]);
});

/** Devices that have a driver in a snapshot are told of before the answer: in today's dialect before `restoring`, as by Cloud Hypervisor. */
async function assertRestoreEvents(vmm: TestVmm, names: () => string[]): Promise<void> {
  const folder = join(vmm.folder, 'saved');
  const path = join(folder, 'config.json');
  const activated = ['_disk0', '_rng', '_balloon'].map((id) => `virtio-device/activated ${id}`);
  const restore = async (): Promise<string[]> => {
    const before = names().length;
    assertStatus(await vmm.put('vm.restore', { source_url: `file://${folder}` }), 204);
    const seen = names().slice(before);
    assertStatus(await vmm.put('vm.delete'), 204);
    return seen;
  };
  const first = await restore();
  assert.deepEqual([first[0], first.at(-1)], ['vm/restoring', 'vm/restored']);
  assert.deepEqual(first.slice(1, -1).toSorted(), activated.toSorted());

  const { kernel, initramfs, cmdline, ...rest } = JSON.parse(readFileSync(path, 'utf8')) as Contract;
  const payload = { kernel: kernel.path, initramfs: initramfs.path, cmdline: cmdline.args };
  writeFileSync(path, JSON.stringify({ ...rest, payload }));
  const second = await restore();
  assert.deepEqual(second.slice(-2), ['vm/restoring', 'vm/restored']);
  // ids of devices that are always there begin with two underscores in today's dialect
  const ids = second.slice(0, -2).map((name) => name.replace(' __', ' _'));
  assert.deepEqual(ids.toSorted(), activated.toSorted());
}

/** What the contract's dialect has in place of `payload`. */
interface Contract {
  readonly kernel: { readonly path: string };
  readonly initramfs: { readonly path: string };
  readonly cmdline: { readonly args: string };
}

test('a FIFO or an inherited descriptor gets the events; what is neither is refused', async () => {
  const folder = makeFolder();
  const path = join(folder, 'fifo');
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const file = openSync(join(folder, 'file'), 'w');
  try {
    for (const [target, inherited, told] of [
      [`path=${path}`, [], () => readFileSync(reader, 'utf8')],
      ['fd=3', [file], () => readFileSync(join(folder, 'file'), 'utf8')],
    ] as const) {
      await using vmm = await startVmm({ args: ['--event-monitor', target], inherited });
      assertStatus(await vmm.put('vmm.shutdown'), 204);
      assert.equal(await vmm.exited, 0);
      assert.deepEqual(parse(told()).map(named), ['vmm/starting', 'vmm/shutdown']);
    }
    for (const [target, message] of [
      ['/tmp/events', 'unknown option: /tmp/events'],
      ['', 'path or fd required'],
      ['fd=x', 'unable to parse x for fd'],
    ] as const) {
      await using vmm = await startVmm({ args: ['--event-monitor', target], api: false });
      assert.equal(await vmm.exited, 1);
      assert.ok(vmm.output().startsWith(`Error parsing --event-monitor: ${message}\n`), vmm.output());
    }
    await using vmm = await startVmm({ args: ['--event-monitor', 'path=/nowhere/events'], api: false });
    assert.equal(await vmm.exited, 1);
    assert.match(vmm.output(), /^Error doing event monitor I\/O: .*no such file or directory/m);
  } finally {
    closeSync(reader);
    closeSync(file);
    rmSync(folder, { recursive: true });
  }
});
