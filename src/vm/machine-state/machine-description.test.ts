import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { contiguousVcpus } from './continue-machine.ts';
import { firmwareToContinue, parseDescription } from './machine-description.ts';

const { config } = decodeVmConfig({ kernel: { path: '/k' } });

/** A description as a snapshot of an older version has it: without images and states of devices. */
const SAVED = {
  engine: '10.0',
  accelerator: 'tcg',
  firmware: 'qboot.rom',
  shape: {},
  booted: { cpus: config.cpus, memory: config.memory },
  vcpus: [0],
  dimms: [],
  memoryAddresses: {},
  nextNumber: 3,
  devices: [],
};

test('members have the names of the code, and older descriptions have defaults', () => {
  const { qemuVersion, readsBootFiles, bootConfig, images, pmems, vsocks } = parseDescription(SAVED);
  assert.equal(qemuVersion, '10.0');
  assert.equal(readsBootFiles, false);
  assert.equal(bootConfig.memory.size, config.memory.size);
  assert.deepEqual([images, pmems, vsocks], [[], [], []]);
});

test('the error for a value out of bounds names the member', () => {
  for (const [member, value] of [
    ['engine', 'x'.repeat(300)],
    ['firmware', '../../etc/passwd'],
    ['vcpus', [-1]],
    ['dimms', Array.from({ length: 300 }, () => 1)],
    ['memoryAddresses', { x: 1.5 }],
    ['devices', [{ kind: '_disk', id: 'a', slot: 99 }]],
  ] as const) {
    assert.throws(() => parseDescription({ ...SAVED, [member]: value }), new RegExp(`^Error: ${member}`));
  }
  assert.throws(() => parseDescription({ ...SAVED, booted: { cpus: { boot_vcpus: 'many' }, memory: {} } }));
});

test('boot files are needed by a guest that may read them, and for firmware that is one of them', () => {
  assert.equal(firmwareToContinue({ firmware: 'qboot.rom', readsBootFiles: false }), 'qboot.rom');
  assert.equal(firmwareToContinue({ firmware: 'qboot.rom', readsBootFiles: true }), undefined);
  assert.equal(firmwareToContinue({ firmware: 'own', readsBootFiles: false }), undefined);
});

test('QEMU starts with the vCPUs before the first gap', () => {
  assert.equal(contiguousVcpus([0, 1, 2]), 3);
  assert.equal(contiguousVcpus([0, 2, 3]), 1);
  assert.equal(contiguousVcpus([]), 0);
});
