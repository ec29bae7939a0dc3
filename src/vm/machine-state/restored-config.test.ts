import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { restoredBootConfig } from './restored-config.ts';

const MIB = 2 ** 20;

function configOf(memory: object, cpus: object = { boot_vcpus: 1, max_vcpus: 4 }) {
  return decodeVmConfig({ kernel: { path: '/k' }, cpus, memory }).config;
}

test('vCPUs and RAM are those of the start, whatever was added later', () => {
  const now = configOf({ size: 1024 * MIB }, { boot_vcpus: 3, max_vcpus: 4 });
  const then = configOf({ size: 512 * MIB });
  const { cpus, memory } = restoredBootConfig(now, { bootConfig: then });
  assert.equal(cpus.boot_vcpus, 1);
  assert.equal(memory.size, 512 * MIB);
});

test('settings of RAM that may be edited are those of the configuration', () => {
  const now = configOf({ size: 512 * MIB, prefault: true });
  const { memory } = restoredBootConfig(now, { bootConfig: configOf({ size: 512 * MIB }) });
  assert.equal(memory.prefault, true);
});

test('a memory zone in a file has the file that the configuration names now', () => {
  const zone = (more: object) => configOf({ size: 0, zones: [{ id: 'z', size: 512 * MIB, ...more }] });
  const fileOf = (now: object, then: object) => {
    const { memory } = restoredBootConfig(zone(now), { bootConfig: zone(then) });
    return memory.zones?.map(({ file, shared }) => [file, shared]);
  };
  assert.deepEqual(fileOf({ file: '/b', shared: true }, { file: '/a' }), [['/b', true]]);
  // a file that comes or goes would be another layout
  assert.deepEqual(fileOf({}, { file: '/a' }), [['/a', false]]);
  assert.deepEqual(fileOf({ file: '/b' }, {}), [[undefined, false]]);
});
