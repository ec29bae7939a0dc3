import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/vm-config.ts';
import { placeDevices } from '../../machine/placement.ts';
import { planMachine } from '../../machine/plan.ts';
import { mapMemory } from './restore-memory.ts';

/** The regions that are mapped from a snapshot of a VM. */
function mappedFor(more: object): string[] {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, ...more });
  const plan = planMachine(config, placeDevices(config).placements, {
    accelerator: { name: 'tcg', properties: {} },
    kernel: { kind: 'linux', path: '/k' },
    initramfs: undefined,
    facts: new Map(),
  });
  const region = { id: 'ram', offset: 0, length: config.memory.size };
  const from = { memory: config.memory, path: '/snapshot', zones: [], isMappable: () => true };
  return mapMemory(plan, [region], from).mapped.map(({ id }) => id);
}

test('RAM is mapped from the snapshot, except where pages of it are given back to the host', () => {
  assert.deepEqual(mappedFor({}), ['ram']);
  assert.deepEqual(mappedFor({ balloon: { size: 0 } }), ['ram']);
  assert.deepEqual(mappedFor({ balloon: { size: 0, free_page_reporting: true } }), []);
});
