import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { placeDevices } from '../../plan/placement.ts';
import type { SavedDevice } from './description-schema.ts';
import { kindOf } from './describe-machine.ts';
import { restoredLayout } from './restored-layout.ts';

const { config } = decodeVmConfig({
  kernel: { path: '/k' },
  disks: [{ path: '/a', id: 'a' }, { path: '/b' }],
});
const LAYOUT = placeDevices(config);
const SAVED: readonly SavedDevice[] = LAYOUT.placements.map(({ device, id, slot }) => ({
  kind: kindOf(device),
  id,
  slot,
}));

function idsAndSlots(devices: readonly SavedDevice[], of = config) {
  const { placements } = restoredLayout(of, { devices, nextNumber: LAYOUT.nextNumber });
  return placements.map(({ id, slot }) => [id, slot]);
}

test('a restored machine has the same devices with the same ids in the same slots', () => {
  const moved = SAVED.map((one) => (one.id === 'a' ? { ...one, slot: 20 } : one));
  assert.deepEqual(
    idsAndSlots(moved),
    moved.map(({ id, slot }) => [id, slot]),
  );
});

test('a device that is missing, one too many and an unknown kind are refused', () => {
  const refused = { code: 'failed', message: /^The configuration is another machine's: / };
  const more: SavedDevice = { kind: '_disk', id: 'third', slot: 21 };
  for (const devices of [
    SAVED.filter(({ id }) => id !== 'a'),
    [...SAVED, more],
    [...SAVED, { ...more, kind: 'robot' }],
  ]) {
    assert.throws(() => idsAndSlots(devices), refused);
  }
});

test('a device that the guest is to release needs no item in the configuration', () => {
  const leaving = { path: '/gone', id: 'gone' };
  const placed = idsAndSlots([...SAVED, { kind: '_disk', id: 'gone', slot: 9, leaving }]);
  assert.deepEqual(placed.at(-1), ['gone', 9]);
});
