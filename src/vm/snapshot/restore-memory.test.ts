import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { zonesOf } from '../../devices/memory/zones.ts';
import { placeDevices } from '../../plan/placement.ts';
import { planMachine } from '../../plan/machine-plan.ts';
import { mapMemory, withMapped } from './restore-memory.ts';

/** Returns facts of all devices: those of a back-end of the VMM have a descriptor, those of a daemon a path. */
function factsOf(config: VmConfig, frontEnd: number | string = 9): Map<string, object> {
  return new Map(placeDevices(config).placements.map(({ id }) => [id, { frontEnd }]));
}

/** Returns the regions that are mapped from a snapshot of a VM. */
function mappedFor(more: object, isAccessible = true, frontEnd?: string): string[] {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, ...more });
  const plan = planMachine(config, placeDevices(config).placements, {
    accelerator: { name: 'tcg', properties: {} },
    kernel: { kind: 'linux', path: '/k' },
    initramfs: undefined,
    facts: factsOf(config, frontEnd),
  });
  const whole = { path: '/snapshot', offset: 0 };
  const region = { id: 'ram', length: config.memory.size, whole };
  const from = { memory: config.memory, zones: [], isMappable: () => true, isAccessible };
  return mapMemory(plan, [region], from).mapped.map(({ id }) => id);
}

test('RAM is mapped from the snapshot, unless the guest can return pages to the host', () => {
  assert.deepEqual(mappedFor({}), ['ram']);
  assert.deepEqual(mappedFor({ balloon: { size: 0 } }), ['ram']);
  assert.deepEqual(mappedFor({ balloon: { size: 0, free_page_reporting: true } }), []);
});

test('RAM is mapped for back-ends of the VMM that can access it, and copied for all others', () => {
  const vsock = { vsock: { cid: 3, socket: '/s' } };
  const own = { fs: [{ tag: 't', directory: '/d' }] };
  assert.deepEqual(mappedFor(vsock), ['ram']);
  assert.deepEqual(mappedFor(own), ['ram']);
  assert.deepEqual(mappedFor({ ...vsock, ...own }, false), []);
  assert.deepEqual(mappedFor({ ...vsock, memory: { size: 2 ** 28, shared: true } }), [], 'as configured');
  assert.deepEqual(mappedFor(own, true, '/daemon'), []);
});

/** Returns the source of a zone in a file, and the back-ends in its plan. */
function zoneFor(zone: object, more: object = {}): unknown {
  const mem0 = { id: 'mem0', size: 2 ** 28, file: '/zone', ...zone };
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, memory: { size: 0, zones: [mem0] }, ...more });
  const plan = planMachine(config, placeDevices(config).placements, {
    accelerator: { name: 'tcg', properties: {} },
    kernel: { kind: 'linux', path: '/k' },
    initramfs: undefined,
    facts: factsOf(config),
  });
  const region = { id: 'ram', offset: 0, length: 2 ** 28, zone: 'mem0' };
  const zones = zonesOf(config.memory).map((one) => ({ region, zone: { ...one, file: '/zone' } }));
  const from = { memory: config.memory, zones, isMappable: () => true, isAccessible: true };
  const { mapped, copied } = mapMemory(plan, [], from);
  const made = withMapped(plan, { mapped, copied }).steps.flatMap((step) =>
    step.kind === 'object' && step.props.id === 'ram' ? [step.props] : [],
  );
  return {
    mapped: mapped.map(({ path }) => path),
    copied: copied.map(({ path }) => path),
    made: made.map((props) => [props['qom-type'], props['mem-path'], props['share'], props['readonly']]),
  };
}

test('RAM in the file of a zone: shared, private and read-only, or copied for a back-end', () => {
  const file = 'memory-backend-file';
  assert.deepEqual(zoneFor({ shared: true }), {
    mapped: [],
    copied: [],
    made: [[file, '/zone', true, undefined]],
  });
  assert.deepEqual(zoneFor({ shared: false }), {
    mapped: ['/zone'],
    copied: [],
    made: [[file, '/zone', false, true]],
  });
  assert.deepEqual(zoneFor({ shared: false }, { balloon: { size: 0, free_page_reporting: true } }), {
    mapped: [],
    copied: ['/zone'],
    made: [['memory-backend-memfd', undefined, true, undefined]],
  });
});
