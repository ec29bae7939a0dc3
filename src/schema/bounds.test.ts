import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { extentOf } from './bounds.ts';

const objects = (count: number): object[] => Array.from({ length: count }, () => ({}));

test('values are counted at any depth, and lists that are too long are named', () => {
  assert.deepEqual(extentOf({ a: 1, b: [1, { c: null }] }), { values: 6, problems: [] });
  const { problems } = extentOf({ disks: objects(257), numa: [{ cpus: Array(1025).fill(0) }] });
  assert.deepEqual(problems, [
    'disks: expected a list of at most 256 items, got 257',
    'numa[0].cpus: expected a list of at most 1024 items, got 1025',
  ]);
  assert.deepEqual(extentOf({ disks: objects(256), cpus: Array(1024).fill(0) }).problems, []);
});

test('a document that is nested too deep is refused before it is read to its end', () => {
  let deep: unknown = 0;
  for (let i = 0; i < 100_000; i++) deep = [deep];
  assert.match(extentOf(deep).problems.join(), /nested more than 128 deep$/);
});

test('a configuration names twenty problems and the number of the others', () => {
  const disks = Array.from({ length: 200 }, () => ({ path: 1 }));
  const config = { cpus: { boot_vcpus: 1, max_vcpus: 1 }, kernel: { path: '/k' }, disks };
  assert.throws(() => decodeVmConfig(config), {
    message: /^disks\[0\]\.path: .*disks\[19\]\.path: expected a string, got 1; and 180 more$/,
  });
});

test('a configuration has a size of its own: vm.info shows all of it', () => {
  const disks = Array.from({ length: 200 }, () => ({ path: `/${'x'.repeat(4000)}` }));
  const config = { cpus: { boot_vcpus: 1, max_vcpus: 1 }, kernel: { path: '/k' }, disks };
  assert.throws(() => decodeVmConfig(config), {
    message: /config: has \d+ bytes of JSON, 262144 are possible/,
  });
});
