import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstDifference, fixedConfigOf } from './editable-config.ts';

const CONFIG = {
  kernel: { path: '/k' },
  cpus: { boot_vcpus: 1, max_vcpus: 2 },
  memory: { size: 1, shared: false, zones: [{ id: 'a', size: 1, file: '/f' }] },
  disks: [{ id: 'd', path: '/x', readonly: true, queue_size: 128 }],
  net: [{ id: 'n', tap: 't', mac: 'm', num_queues: 2 }],
  serial: { mode: 'Pty', file: '/dev/pts/1', iommu: false },
  vsock: undefined,
};

/** Returns the difference after one member of the configuration is changed. */
function after(change: (config: typeof CONFIG) => unknown): string | undefined {
  const changed = structuredClone(CONFIG);
  change(changed);
  return firstDifference(fixedConfigOf(CONFIG), fixedConfigOf(changed));
}

test('settings of the host may be edited', () => {
  const edits: ((config: typeof CONFIG) => unknown)[] = [
    (config) => (config.kernel.path = '/other'),
    (config) => (config.memory.shared = true),
    (config) => (config.memory.zones = [{ id: 'a', size: 1, file: '/g' }]),
    (config) => config.disks.forEach((disk) => (disk.path = '/y')),
    (config) => config.net.forEach((net) => Object.assign(net, { tap: 'u', mac: 'o', fds: [3], ip: '1' })),
    (config) => (config.serial = { ...config.serial, mode: 'File', file: '/log' }),
  ];
  for (const edit of edits) assert.equal(after(edit), undefined, String(edit));
});

test('a change that needs another machine is named, with both values', () => {
  const edits: [(config: typeof CONFIG) => unknown, string][] = [
    [(config) => (config.cpus.max_vcpus = 3), 'cpus.max_vcpus: was 2, is 3'],
    [(config) => (config.memory.zones = []), 'memory.zones[0]: was {"id":"a","size":1}, is not there'],
    [
      (config) => config.disks.forEach((disk) => (disk.readonly = false)),
      'disks[0].readonly: was true, is false',
    ],
    [(config) => Object.assign(config, { vsock: { cid: 3 } }), 'vsock: was not there, is {}'],
    [(config) => (config.serial.iommu = true), 'serial.iommu: was false, is true'],
    [
      (config) => Object.assign(config, { disks: 'none' }),
      'disks: was [{"id":"d","readonly":true,"queue_size":128}], is "none"',
    ],
  ];
  for (const [edit, told] of edits) assert.equal(after(edit), told);
});

test('the order of members, and members without a value, are no difference', () => {
  assert.equal(
    firstDifference(fixedConfigOf({ a: 1, b: undefined, c: [1, 2] }), fixedConfigOf({ c: [1, 2], a: 1 })),
    undefined,
  );
  assert.equal(firstDifference(fixedConfigOf([1, 2]), fixedConfigOf([2, 1])), '[0]: was 1, is 2');
});
