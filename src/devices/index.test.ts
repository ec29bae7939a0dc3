import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, DecodeError } from '../schema/decode.ts';
import type { Struct } from '../schema/field.ts';
import { BalloonConfig } from './balloon/config.ts';
import { ConsoleConfig } from './console/config.ts';
import { CpusConfig } from './cpus/config.ts';
import { DiskConfig } from './disk/config.ts';
import { FsConfig } from './fs/config.ts';
import { DEVICES } from './table.ts';
import { MemoryConfig, MemoryZoneConfig } from './memory/config.ts';
import { NetConfig } from './net/config.ts';
import { NumaConfig, NumaDistance } from './numa/config.ts';
import { PmemConfig } from './pmem/config.ts';
import { RateLimiterConfig } from './common/rate-limit.ts';
import { RngConfig } from './rng/config.ts';
import { SgxEpcConfig } from './sgx-epc/config.ts';
import { DeviceConfig } from './vfio/config.ts';
import { PINNED_DEVICES } from './test-kinds.ts';
import { VsockConfig } from './vsock/config.ts';

/** The least that makes each struct, and what it then is. */
const DEFAULTS: [Struct, object, object][] = [
  [CpusConfig, { boot_vcpus: 1, max_vcpus: 1 }, { boot_vcpus: 1, max_vcpus: 1, kvm_hyperv: false }],
  [
    MemoryConfig,
    { size: 4096 },
    {
      size: 4096,
      mergeable: false,
      hotplug_method: 'Acpi',
      shared: false,
      hugepages: false,
    },
  ],
  [
    MemoryZoneConfig,
    { id: 'z', size: 4096 },
    { id: 'z', size: 4096, mergeable: false, shared: false, hugepages: false },
  ],
  [
    DiskConfig,
    { path: '/d' },
    {
      path: '/d',
      readonly: false,
      direct: false,
      iommu: false,
      num_queues: 1,
      queue_size: 128,
      vhost_user: false,
      poll_queue: true,
      disable_io_uring: false,
    },
  ],
  [
    NetConfig,
    {},
    {
      ip: '192.168.249.1',
      mask: '255.255.255.0',
      backend: 'tap',
      iommu: false,
      num_queues: 2,
      queue_size: 256,
      vhost_user: false,
      vhost_mode: 'Client',
    },
  ],
  [RngConfig, { src: '/r' }, { src: '/r', iommu: false }],
  [BalloonConfig, { size: 0 }, { size: 0, deflate_on_oom: false }],
  [
    FsConfig,
    { tag: 't', socket: '/s' },
    { tag: 't', socket: '/s', num_queues: 1, queue_size: 1024, dax: true, cache_size: 8_589_934_592 },
  ],
  [PmemConfig, { file: '/p' }, { file: '/p', iommu: false, mergeable: false, discard_writes: false }],
  [ConsoleConfig, { mode: 'Null' }, { mode: 'Null', iommu: false }],
  [DeviceConfig, { path: '/v' }, { path: '/v', iommu: false }],
  [VsockConfig, { cid: 3, socket: '/s' }, { cid: 3, socket: '/s', iommu: false }],
  [SgxEpcConfig, { id: 'e' }, { id: 'e', size: 0, prefault: false }],
  [NumaConfig, {}, { guest_numa_id: 0 }],
  [NumaDistance, {}, { destination: 0, distance: 0 }],
  [RateLimiterConfig, {}, {}],
];

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const problems = (schema: Struct, json: unknown): readonly string[] => {
  try {
    decode(schema, json);
  } catch (error) {
    assert.ok(error instanceof DecodeError);
    return error.problems;
  }
  return [];
};

test('each struct has the documented defaults, and decodes its own answer', () => {
  for (const [schema, least, whole] of DEFAULTS) {
    assert.deepEqual(plain(decode(schema, least)), whole, schema.name);
    assert.deepEqual(plain(decode(schema, whole)), whole, schema.name);
  }
});

test('the required members of a struct are named if they are missing', () => {
  for (const [schema, least] of DEFAULTS) {
    const needed = Object.keys(least).filter((name) => schema.fields[name]?.required);
    assert.deepEqual(
      problems(schema, {}),
      needed.map((name) => `missing field "${name}"`),
      schema.name,
    );
  }
});

test('null stands for an optional member, never for one with a default or a needed one', () => {
  for (const [schema, least] of DEFAULTS) {
    for (const [name, field] of Object.entries(schema.fields)) {
      const isOptional = !field.required && field.defaultValue === undefined;
      const found = problems(schema, { ...least, [name]: null });
      assert.equal(found.length === 0, isOptional, `${schema.name}.${name}: ${found.join()}`);
    }
  }
});

test('a value of a wrong type is refused in every member', () => {
  for (const [schema, least] of DEFAULTS) {
    for (const name of Object.keys(schema.fields)) {
      const found = problems(schema, { ...least, [name]: () => undefined });
      assert.equal(found.length, 1, `${schema.name}.${name}`);
      assert.ok(found[0]?.startsWith(`${name}: expected `), found[0]);
    }
  }
});

test('numbers have the widths of the reference', () => {
  const limits: [Struct, string, number, object][] = [
    [CpusConfig, 'boot_vcpus', 255, { max_vcpus: 1 }],
    [CpusConfig, 'max_vcpus', 255, { boot_vcpus: 1 }],
    [CpusConfig, 'max_phys_bits', 255, { boot_vcpus: 1, max_vcpus: 1 }],
    [MemoryZoneConfig, 'host_numa_node', 4_294_967_295, { id: 'z', size: 1 }],
    [DiskConfig, 'queue_size', 65_535, {}],
    [NetConfig, 'queue_size', 65_535, {}],
    [FsConfig, 'queue_size', 65_535, { tag: 't', socket: '/s' }],
    [NumaConfig, 'guest_numa_id', 4_294_967_295, {}],
    [NumaDistance, 'destination', 4_294_967_295, {}],
    [NumaDistance, 'distance', 255, {}],
  ];
  for (const [schema, name, most, rest] of limits) {
    assert.deepEqual(problems(schema, { ...rest, [name]: most }), [], `${schema.name}.${name}`);
    assert.equal(problems(schema, { ...rest, [name]: most + 1 }).length, 1, `${schema.name}.${name}`);
  }
});

test('the document’s minimums hold', () => {
  assert.equal(problems(CpusConfig, { boot_vcpus: 0, max_vcpus: 0 }).length, 2);
  assert.deepEqual(problems(VsockConfig, { cid: 2, socket: '/s' }), [
    'cid: expected a whole number from 3 to 9007199254740991, got 2',
  ]);
});

test('words with several spellings are answered in one', () => {
  assert.equal(decode(MemoryConfig, { size: 1, hotplug_method: 'acpi' }).hotplug_method, 'Acpi');
  assert.equal(decode(MemoryConfig, { size: 1, hotplug_method: 'VirtioMem' }).hotplug_method, 'VirtioMem');
  assert.equal(decode(MemoryConfig, { size: 1, hotplug_method: 'virtio-mem' }).hotplug_method, 'VirtioMem');
  assert.equal(decode(NetConfig, { vhost_mode: 'server' }).vhost_mode, 'Server');
  for (const mode of ['Off', 'Pty', 'Tty', 'File', 'Null'] as const) {
    assert.equal(decode(ConsoleConfig, { mode }).mode, mode);
    assert.equal(decode(ConsoleConfig, { mode: mode.toLowerCase() as typeof mode }).mode, mode);
  }
});

test('fds is another name of fd', () => {
  const sent: Readonly<Record<string, unknown>> = { fds: [3, 7] };
  assert.deepEqual(decode(NetConfig, sent).fd, [3, 7]);
  assert.deepEqual(decode(NetConfig, { ...sent, fd: [4] }).fd, [4]);
});

test('a misspelt rate limit is refused, not ignored', () => {
  const bucket = { size: 1, refill_time: 1 };
  assert.deepEqual(problems(RateLimiterConfig, { bandwith: bucket }), ['unknown field "bandwith"']);
  assert.deepEqual(problems(RateLimiterConfig, { bandwidth: { size: 1 } }), [
    'missing field "bandwidth.refill_time"',
  ]);
  assert.deepEqual(problems(RateLimiterConfig, { bandwidth: { ...bucket, further: 1 }, ops: null }), []);
});

test('no two kinds have the same position in a list that clients see', () => {
  for (const list of ['slot', 'config', 'words', 'route', 'command'] as const) {
    const positions = DEVICES.flatMap(({ order }) => order?.[list] ?? []);
    assert.equal(new Set(positions).size, positions.length, list);
  }
});

test('slots are taken in the order of the table', () => {
  const slots = PINNED_DEVICES.filter(({ takesSlot }) => takesSlot).map(({ member }) => member);
  assert.deepEqual(slots, [
    'console',
    'disks',
    'net',
    'rng',
    'fs',
    'pmem',
    'vsock',
    // virtio-mem
    'memory',
    'balloon',
    'watchdog',
    'pvpanic',
    'ivshmem',
    'devices',
    'iommu',
  ]);
});

test('ids and what can be removed are as in Cloud Hypervisor', () => {
  const ids = PINNED_DEVICES.flatMap(({ ids }) => (ids === undefined ? [] : Object.values(ids)));
  const expected =
    '_balloon _console _debug_console _disk _fs _iommu _ivshmem _mem _net _pmem _pvpanic _rng _serial _tpm _vfio _vsock _watchdog';
  assert.equal(ids.toSorted().join(' '), expected);
  const removable = PINNED_DEVICES.filter(({ removable }) => removable).map(({ member }) => member);
  // pmem is not: QEMU does not unplug it (docs/compatibility.md)
  assert.deepEqual(removable.toSorted(), ['devices', 'disks', 'fs', 'net', 'vsock']);
});
