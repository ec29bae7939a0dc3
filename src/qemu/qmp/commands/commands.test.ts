import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QmpError } from '../qmp-error.ts';
import { CAPTURED } from './captured-replies.ts';
import { COMMANDS, typedExecute, type Execute, type QmpCommandName, type ReplyOf } from './index.ts';

type Queried = keyof typeof CAPTURED;

/** The used members of the captured replies. */
const DECODED: { readonly [Name in Queried]: ReplyOf<Name> } = {
  'query-status': { status: 'prelaunch' },
  'query-memory-devices': [
    { type: 'virtio-pmem', id: 'pmem0', address: 4 * 2 ** 30, size: 8 * 2 ** 20 },
    { type: 'virtio-mem', id: 'vmem0', address: 4_303_355_904, size: 0 },
    { type: 'dimm', id: 'dimm0', address: 4_571_791_360, size: 128 * 2 ** 20 },
  ],
  'query-memory-size-summary': { 'base-memory': 128 * 2 ** 20 },
  'query-memdev': [{ id: 'vm', share: true }],
  'query-balloon': { actual: 256 * 2 ** 20 },
  'query-hotpluggable-cpus': [
    {
      type: 'qemu64-x86_64-cpu',
      props: { 'socket-id': 0, 'core-id': 1, 'thread-id': 0, 'node-id': 0 },
    },
    {
      type: 'qemu64-x86_64-cpu',
      props: { 'socket-id': 0, 'core-id': 0, 'thread-id': 0, 'node-id': 0 },
      'qom-path': '/machine/unattached/device[0]',
    },
  ],
  'query-cpus-fast': [{ 'cpu-index': 0, 'thread-id': 32_476 }],
  'query-iothreads': [{ id: 'io0', 'thread-id': 32_474 }],
  'query-blockstats': [
    {
      qdev: '/machine/peripheral/disk0/virtio-backend',
      stats: {
        rd_bytes: 0,
        wr_bytes: 0,
        rd_operations: 0,
        wr_operations: 0,
        rd_total_time_ns: 0,
        wr_total_time_ns: 0,
        rd_latency_histogram: { bins: [0, 0, 0] },
        wr_latency_histogram: { bins: [0, 0, 0] },
      },
    },
  ],
  'query-jobs': [{ id: 'e.copy', 'current-progress': 0, 'total-progress': 256 * 2 ** 20 }],
  'query-named-block-nodes': [
    { 'node-name': 'd', image: { format: 'raw', 'virtual-size': 8 * 2 ** 20 } },
    { 'node-name': 'f', image: { format: 'file', 'virtual-size': 8 * 2 ** 20 } },
  ],
  'query-chardev': [
    { label: 'compat_monitor0', filename: 'stdio' },
    { label: 'cs', filename: 'disconnected:unix:cs.sock,server=on' },
  ],
  'query-fdsets': [{ fds: [{ fd: 5 }], 'fdset-id': 9 }],
  'query-pci': [
    {
      devices: [
        { slot: 1, regions: [{ bar: 4, type: 'io', address: -1, size: 16 }] },
        {
          slot: 2,
          regions: [
            { bar: 0, type: 'io', address: -1, size: 128 },
            { bar: 1, type: 'memory', address: -1, size: 4096, prefetch: false, mem_type_64: false },
            { bar: 4, type: 'memory', address: -1, size: 16_384, prefetch: true, mem_type_64: true },
          ],
        },
      ],
    },
  ],
  'query-migrate': { status: 'completed', ram: { remaining: 0, total: 537_665_536 } },
  'query-dump': { status: 'completed', completed: 277_086_208, total: 277_086_208 },
  'x-query-virtio-status': { isr: 0, status: { statuses: [] }, 'guest-features': { 'dev-features': [] } },
  'x-query-virtio-queue-status': { 'last-avail-idx': 0, inuse: 0 },
};

/** Members without which a reply is of no use. */
const REQUIRED: { readonly [Name in Queried]: readonly string[] } = {
  'query-status': ['status'],
  'query-memory-devices': ['0.type', '0.data.memaddr', '1.data.size', '2.data', '2.data.addr', '2.data.size'],
  'query-memory-size-summary': ['base-memory'],
  'query-memdev': ['0.share'],
  'query-balloon': ['actual'],
  'query-hotpluggable-cpus': ['0.type', '1.props'],
  'query-cpus-fast': ['0.cpu-index', '0.thread-id'],
  'query-iothreads': ['0.id', '0.thread-id'],
  'query-blockstats': [
    '0.stats',
    ...['rd_bytes', 'wr_bytes', 'rd_operations', 'wr_operations'].map((name) => `0.stats.${name}`),
    ...['rd_total_time_ns', 'wr_total_time_ns', 'rd_latency_histogram.bins'].map((name) => `0.stats.${name}`),
  ],
  'query-jobs': ['0.id', '0.current-progress', '0.total-progress'],
  'query-named-block-nodes': ['0.image', '0.image.format', '1.image.virtual-size'],
  'query-chardev': ['0.label', '1.filename'],
  'query-fdsets': ['0.fdset-id', '0.fds', '0.fds.0.fd'],
  'query-pci': [
    '0.devices',
    '0.devices.0.slot',
    '0.devices.1.regions',
    ...['bar', 'type', 'address', 'size'].map((name) => `0.devices.1.regions.2.${name}`),
  ],
  'query-migrate': ['ram.remaining', 'ram.total'],
  'query-dump': ['status', 'completed', 'total'],
  'x-query-virtio-status': ['isr', 'status', 'status.statuses', 'guest-features.dev-features'],
  'x-query-virtio-queue-status': ['last-avail-idx', 'inuse'],
};

/** Members that QAPI marks as optional. */
const OPTIONAL: { readonly [Name in Queried]?: readonly string[] } = {
  'query-memory-devices': ['0.data.id'],
  'query-memdev': ['0.id'],
  'query-hotpluggable-cpus': ['1.qom-path'],
  'query-blockstats': ['0.qdev', '0.stats.rd_latency_histogram', '0.stats.wr_latency_histogram'],
  'query-named-block-nodes': ['0.node-name'],
  'query-pci': ['0.devices.1.regions.1.prefetch', '0.devices.1.regions.1.mem_type_64'],
  'query-migrate': ['status', 'ram'],
};

/** Runs one command with a fixed reply. */
function run(name: QmpCommandName, reply: unknown): Promise<unknown> {
  const execute: Execute = typedExecute(async () => reply);
  // the arguments are not looked at
  return execute(name as 'query-status');
}

/** A copy of a reply in which a member is replaced by what `edit` returns; undefined removes it. */
function change(reply: unknown, path: string, edit: (value: unknown) => unknown): unknown {
  const copy: unknown = structuredClone(reply);
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  const holder = Object(keys.reduce<unknown>((at, key) => Reflect.get(Object(at), key), copy));
  assert.ok(Reflect.has(holder, last), `${path} is in the captured reply`);
  const value = edit(Reflect.get(holder, last));
  if (value === undefined) Reflect.deleteProperty(holder, last);
  else Reflect.set(holder, last, value);
  return copy;
}

function remove(): undefined {
  return undefined;
}

function ofAnotherType(value: unknown): unknown {
  return typeof value === 'boolean' ? 'true' : true;
}

function misfitOf(command: string, member: string) {
  return (error: unknown): boolean =>
    error instanceof QmpError &&
    error.command === command &&
    error.member === member &&
    error.message.startsWith(`${command}: QEMU’s reply does not fit: ${member}: expected `);
}

const NAMES = Object.keys(CAPTURED) as Queried[];

/** Commands whose reply is text. */
const TEXTS = ['human-monitor-command', 'ringbuf-read'] as const;

test('every command whose reply is used has a captured reply', () => {
  const isAction = (name: QmpCommandName): boolean => COMMANDS[name].reply === COMMANDS.cont.reply;
  const used = (Object.keys(COMMANDS) as QmpCommandName[]).filter((name) => !isAction(name));
  assert.deepEqual(used.toSorted(), [...NAMES, ...TEXTS].toSorted());
});

for (const name of NAMES) {
  test(`${name}: a reply of QEMU 10.0.2 is decoded, unknown members are left out`, async () => {
    assert.deepEqual(await run(name, CAPTURED[name]), DECODED[name]);
  });

  test(`${name}: a missing member, and one of another type, is an error that names it`, async () => {
    for (const member of REQUIRED[name]) {
      for (const edit of [remove, ofAnotherType, () => null]) {
        const reply = change(CAPTURED[name], member, edit);
        await assert.rejects(run(name, reply), misfitOf(name, member), member);
      }
    }
  });

  test(`${name}: a reply without optional members is decoded, one of another type is an error`, async () => {
    for (const member of OPTIONAL[name] ?? []) {
      await run(name, change(CAPTURED[name], member, remove));
      const reply = change(CAPTURED[name], member, ofAnotherType);
      await assert.rejects(run(name, reply), misfitOf(name, member), member);
    }
  });

  test(`${name}: a reply that is no object or list is an error`, async () => {
    for (const reply of [undefined, null, 'text', 7]) {
      await assert.rejects(
        run(name, reply),
        (error: unknown) => error instanceof QmpError && error.member === '',
      );
    }
  });
}

for (const name of TEXTS) {
  test(`${name}: the reply is text`, async () => {
    assert.equal(await run(name, 'Hub -1 (n0):\r\n'), 'Hub -1 (n0):\r\n');
    for (const reply of [undefined, {}, 7]) await assert.rejects(run(name, reply), QmpError);
  });
}

test('a command without a result returns nothing, whatever QEMU adds to its empty object', async () => {
  for (const reply of [{}, { fd: 7, 'fdset-id': 1 }]) assert.equal(await run('add-fd', reply), undefined);
  await assert.rejects(run('cont', undefined), /^QmpError: cont: QEMU’s reply does not fit: expected Object/);
});
