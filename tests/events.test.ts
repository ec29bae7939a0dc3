// The event monitor: lifecycle events of a VM in a file, a FIFO or an inherited file descriptor.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { createImage } from './support/images.ts';
import { untilReceiving } from './support/migration.ts';
import { editConfig } from './support/snapshots.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

interface MonitoredEvent {
  readonly timestamp: { readonly secs: number; readonly nanos: number };
  readonly source: string;
  readonly event: string;
  readonly properties: Readonly<Record<string, string>> | null;
}

/** Parses events as strictly as libvirt: each indented by two and followed by a blank line. */
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

/** Collects the events over the API until the VMM exits. */
async function collectEvents({ client }: TestVmm): Promise<string[]> {
  const all: string[] = [];
  for await (const { timestamp, source, event, ...rest } of client.events({ after: 0 }))
    all.push(named({ timestamp, source, event, properties: 'properties' in rest ? rest.properties : null }));
  return all;
}

const isLifecycle = (name: string): boolean => !name.startsWith('virtio-device/');

/** Mounts a file system of 1 MiB. */
function smallFileSystem(path: string): Disposable & { readonly path: string } {
  mkdirSync(path);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1M', 'small', path]);
  return { path, [Symbol.dispose]: () => void execFileSync('umount', ['-l', path]) };
}

test('events from the start of the VMM to its exit', async (t) => {
  const folder = makeFolder();
  const path = join(folder, 'events, "all" ü.json');
  await using vmm = await startVmm({ args: ['--event-monitor', `path=${path}`] });
  const streamed = collectEvents(vmm);
  const names = (): string[] => parse(readFileSync(path, 'utf8')).map(named);
  const sees = (name: string): Promise<void> =>
    until(
      name,
      () => names().includes(name),
      () => names().join('\n'),
    );
  await t.test('the file has mode 0600', () => {
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });
  await t.test('starting is the first event', () => {
    assert.deepEqual(names(), ['vmm/starting']);
  });

  using full = smallFileSystem(join(vmm.folder, 'full'));
  const image = createImage(join(full.path, 'disk.raw'), '16M', ['-f', 'raw']);
  using shell = await boot(vmm, { disks: [{ path: image }], balloon: { size: 0 } });
  await t.test('virtio devices are activated by their drivers', async () => {
    for (const id of ['_disk0', '_rng', '_balloon']) await sees(`virtio-device/activated ${id}`);
  });
  await t.test('a boot has booting and booted', () => {
    assert.deepEqual(names().filter(isLifecycle), ['vmm/starting', 'vm/booting', 'vm/booted']);
  });

  await t.test('a hot-plugged disk is activated', async () => {
    assertStatus(
      await vmm.put('vm.add-disk', {
        id: 'more',
        path: createImage(join(vmm.folder, 'more'), '1M', ['-f', 'raw']),
      }),
      200,
    );
    await sees('virtio-device/activated more');
  });
  await t.test('a hot-unplugged disk is reset and device-removed', async () => {
    assertStatus(await vmm.put('vm.remove-device', { id: 'more' }), 204);
    await sees('virtio-device/reset more');
    await until(
      'the device is gone',
      () => names().some((name) => name.startsWith('vm/device-removed more 0000:00:0')),
      () => names().join('\n'),
    );
  });

  await t.test('a write error of the host is block-io-error, and the guest runs on', async () => {
    await shell.run('dd if=/dev/zero of=/dev/vda bs=1M count=8 conv=fsync');
    await sees('virtio-device/block-io-error _disk0 write');
    assert.equal(await shell.run('echo alive'), 'alive');
  });

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
  const count = names().length;
  await t.test('events of a restore, in the dialect of the snapshot', () => assertRestoreEvents(vmm, names));
  assertStatus(await vmm.put('vmm.shutdown'), 204);
  assert.equal(await vmm.exited, 0);

  const restored = ['vm/restoring', 'vm/restored', 'vm/shutdown', 'vm/deleted'];
  const lifecycle = [
    ...['vmm/starting', 'vm/booting', 'vm/booted'],
    ...['vm/device-removed more 0000:00:05.0', 'vm/resizing', 'vm/resized', 'vm/pausing', 'vm/paused'],
    ...['vm/snapshotting', 'vm/snapshotted', 'vm/resuming', 'vm/resumed'],
    ...['vm/shutdown', 'vm/booting', 'vm/booted', 'vm/shutdown', 'vm/deleted'],
    ...[...restored, ...restored, 'vmm/shutdown'],
  ];
  await t.test('all lifecycle events are in order', () => {
    assert.deepEqual(names().filter(isLifecycle), lifecycle);
  });
  await t.test('a client of the API has seen the same events', async () => {
    assert.deepEqual(await streamed, names());
  });
  await t.test('each boot activates the disk', () => {
    const boots = names().slice(0, count);
    assert.equal(boots.filter((name) => name === 'virtio-device/activated _disk0').length, 2);
  });
  await t.test('each lifecycle event is in the log', () => {
    for (const name of lifecycle)
      assert.ok(vmm.output().includes(`INFO:event -- ${name.split(' ')[0]?.replace('/', ' ')}`), name);
  });
  await t.test('timestamps increase, from 0 at the start of the VMM', () => {
    const times = parse(readFileSync(path, 'utf8')).map(
      ({ timestamp: { secs, nanos } }) => secs + nanos / 1e9,
    );
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    );
    assert.ok((times[0] ?? 1) < 0.5, 'time does not count from the start');
  });
  rmSync(folder, { recursive: true });
});

test('events of a VM with payload that a VMM receives, in order and not before the VM', async () => {
  await using source = await startVmm();
  const record = join(source.folder, 'events.json');
  await using vmm = await startVmm({ args: ['--event-monitor', `path=${record}`] });
  const names = (): string[] => parse(readFileSync(record, 'utf8')).map(named);
  const payload = { kernel: KERNEL, initramfs: INITRAMFS, cmdline: 'console=ttyS0' };
  const reader = source.client.events({ after: 0 });
  await reader.next();
  using _shell = await boot(source, { payload, kernel: undefined, initramfs: undefined, cmdline: undefined });
  await until('a reader of the API sees activations without an event monitor', async () => {
    const { value } = await reader.next();
    return value?.source === 'virtio-device' && value.event === 'activated';
  });
  await reader.return();
  const url = `unix:${join(source.folder, 'link')}`;
  const receiving = vmm.put('vm.receive-migration', { receiver_url: url });
  await untilReceiving(vmm, url);
  assert.ok(!names().includes('vm/restoring'));
  assertStatus(await source.put('vm.send-migration', { destination_url: url }), 204);
  assertStatus(await receiving, 204);
  const seen = names().filter((name) => name.startsWith('v') && !name.startsWith('vmm/'));
  assert.deepEqual(seen, [
    'virtio-device/activated __rng',
    ...['vm/restoring', 'vm/restored', 'vm/resuming', 'vm/resumed'],
  ]);
});

/** Devices with a driver are activated before the answer, with a payload before `restoring`, as in Cloud Hypervisor. */
async function assertRestoreEvents(vmm: TestVmm, names: () => string[]): Promise<void> {
  const folder = join(vmm.folder, 'saved');
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

  editConfig(folder, ({ kernel: _k, initramfs: _i, cmdline, ...rest }) => {
    const payload = { kernel: KERNEL, initramfs: INITRAMFS, cmdline: cmdline?.args };
    return { ...rest, payload };
  });
  const second = await restore();
  assert.deepEqual(second.slice(-2), ['vm/restoring', 'vm/restored']);
  // with a payload ids of the machine's own devices begin with two underscores
  const ids = second.slice(0, -2).map((name) => name.replace(' __', ' _'));
  assert.deepEqual(ids.toSorted(), activated.toSorted());
}

test('--event-monitor', async (t) => {
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
      await t.test(`${target.replace(folder, '')} receives the events`, async () => {
        await using vmm = await startVmm({ args: ['--event-monitor', target], inherited });
        assertStatus(await vmm.put('vmm.shutdown'), 204);
        assert.equal(await vmm.exited, 0);
        assert.deepEqual(parse(told()).map(named), ['vmm/starting', 'vmm/shutdown']);
      });
    }
    for (const [target, message] of [
      ['/tmp/events', 'unknown option: /tmp/events'],
      ['', 'path or fd required'],
      ['fd=x', 'unable to parse x for fd'],
    ] as const) {
      await t.test(`"${target}" is refused: ${message}`, async () => {
        await using vmm = await startVmm({ args: ['--event-monitor', target], api: false });
        assert.equal(await vmm.exited, 1);
        assert.ok(vmm.output().startsWith(`Error parsing --event-monitor: ${message}\n`), vmm.output());
      });
    }
    await t.test('a file in a folder that does not exist is refused', async () => {
      await using vmm = await startVmm({ args: ['--event-monitor', 'path=/nowhere/events'], api: false });
      assert.equal(await vmm.exited, 1);
      assert.match(vmm.output(), /^Error doing event monitor I\/O: .*no such file or directory/m);
    });
  } finally {
    closeSync(reader);
    closeSync(file);
    rmSync(folder, { recursive: true });
  }
});
