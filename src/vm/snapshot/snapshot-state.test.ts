import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { parseSnapshotState } from './snapshot-state.ts';

const { config } = decodeVmConfig({ kernel: { path: '/k' } });
const PAGE = 4096;

function parse(more: object, memoryBytes = 4 * PAGE) {
  const saved = {
    engine: '10.0',
    accelerator: 'tcg',
    firmware: 'own',
    shape: {},
    booted: { cpus: config.cpus, memory: config.memory },
    vcpus: [0],
    dimms: [],
    memoryAddresses: {},
    nextNumber: 0,
    devices: [],
    regions: [{ id: 'ram', offset: 0, length: 4 * PAGE }],
    deviceState: '',
    ...more,
  };
  return parseSnapshotState(Buffer.from(JSON.stringify(saved)), memoryBytes);
}

test('a state has the description of its machine and its regions of RAM', () => {
  const { description, regions, overlays } = parse({});
  assert.equal(description.qemuVersion, '10.0');
  assert.deepEqual(regions, [{ id: 'ram', offset: 0, length: 4 * PAGE }]);
  assert.deepEqual(overlays, []);
});

test('a region must be within memory-ranges, on a page, unless a memory zone has it', () => {
  const region = (more: object) => ({ regions: [{ id: 'ram', offset: 0, length: PAGE, ...more }] });
  const outside = { message: 'the region ram is not within the 16384 bytes of memory-ranges' };
  assert.throws(() => parse(region({ offset: 4 * PAGE })), outside);
  assert.throws(() => parse(region({ length: 5 * PAGE })), outside);
  assert.throws(() => parse(region({ offset: 1 })), outside);
  assert.doesNotThrow(() => parse(region({ offset: 4 * PAGE, zone: 'z' })));
});

test('pages over a file must be within their region', () => {
  const overlay = (offset: number) => ({
    regions: [],
    overlays: [{ id: 'p', offset: 0, length: 2 * PAGE, pages: [{ offset, length: PAGE }] }],
  });
  assert.doesNotThrow(() => parse(overlay(PAGE)));
  assert.throws(() => parse(overlay(2 * PAGE)), { message: 'pages of the region p are not within it' });
});
