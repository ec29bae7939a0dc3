import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeEvent, type QmpEvent } from './events.ts';

/** Data of events: those of QEMU 10.0.2, or, marked so, of the examples in its QAPI documentation. */
const EVENTS: readonly (readonly [name: string, data: unknown, decoded: QmpEvent])[] = [
  ['STOP', undefined, { event: 'STOP', data: {} }],
  ['RESUME', undefined, { event: 'RESUME', data: {} }],
  [
    'SHUTDOWN',
    { guest: false, reason: 'host-qmp-quit' },
    { event: 'SHUTDOWN', data: { reason: 'host-qmp-quit' } },
  ],
  [
    'DUMP_COMPLETED',
    { result: { total: 277_086_208, status: 'completed', completed: 277_086_208 } },
    { event: 'DUMP_COMPLETED', data: { result: { status: 'completed' } } },
  ],
  // documentation
  [
    'DEVICE_DELETED',
    { device: 'virtio-net-pci-0', path: '/machine/peripheral/virtio-net-pci-0' },
    { event: 'DEVICE_DELETED', data: { device: 'virtio-net-pci-0' } },
  ],
  // documentation
  [
    'ACPI_DEVICE_OST',
    { info: { device: 'd1', slot: '0', 'slot-type': 'DIMM', source: 1, status: 0 } },
    { event: 'ACPI_DEVICE_OST', data: { info: { slot: '0', 'slot-type': 'DIMM', source: 1, status: 0 } } },
  ],
  // documentation
  ['GUEST_PANICKED', { action: 'pause' }, { event: 'GUEST_PANICKED', data: {} }],
  ['GUEST_CRASHLOADED', { action: 'run' }, { event: 'GUEST_CRASHLOADED', data: {} }],
  ['WATCHDOG', { action: 'reset' }, { event: 'WATCHDOG', data: {} }],
  ['MIGRATION', { status: 'completed' }, { event: 'MIGRATION', data: { status: 'completed' } }],
  ['MIGRATION_PASS', { pass: 2 }, { event: 'MIGRATION_PASS', data: { pass: 2 } }],
  [
    'BLOCK_IO_ERROR',
    {
      'qom-path': '/machine/unattached/device[0]',
      device: 'ide0-hd1',
      'node-name': '#block212',
      operation: 'write',
      action: 'stop',
      reason: 'No space left on device',
    },
    {
      event: 'BLOCK_IO_ERROR',
      data: { 'qom-path': '/machine/unattached/device[0]', operation: 'write' },
    },
  ],
];

for (const [name, data, decoded] of EVENTS) {
  test(`event ${name} is decoded, unknown members are left out`, () => {
    assert.deepEqual(decodeEvent(name, data), decoded);
  });
}

test('an event that is not used passes without its data', () => {
  for (const name of ['RTC_CHANGE', 'toString', '__proto__', '']) {
    assert.deepEqual(decodeEvent(name, { offset: 78 }), { event: 'OTHER', name });
  }
});

test('an event with a missing member, or one of another type, passes as one that is not used', () => {
  for (const [name, data] of [
    ['SHUTDOWN', { guest: true }],
    ['SHUTDOWN', { guest: true, reason: 7 }],
    ['MIGRATION_PASS', { pass: '2' }],
    ['DUMP_COMPLETED', { result: 'completed' }],
    ['DEVICE_DELETED', 'disk0'],
  ] as const) {
    assert.deepEqual(decodeEvent(name, data), { event: 'OTHER', name });
  }
});

test('DEVICE_DELETED of a device without an id', () => {
  const data = { path: '/machine/peripheral-anon/device[0]' };
  assert.deepEqual(decodeEvent('DEVICE_DELETED', data), { event: 'DEVICE_DELETED', data: {} });
});
