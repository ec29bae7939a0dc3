import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { Vm } from '../vm.ts';
import { checkBalloon } from './balloon.ts';
import { resizeConfig, resizeZoneOfConfig } from './config.ts';
import { checkVcpus } from './resize.ts';

const MIB = 2 ** 20;

function vmWith(more: object): Vm {
  const cpus = { boot_vcpus: 1, max_vcpus: 4 };
  return Vm.create(decodeVmConfig({ kernel: { path: '/k' }, cpus, ...more }).config);
}

const NONE = { desired_vcpus: undefined, desired_ram: undefined, desired_balloon: undefined };

test('vCPUs are from 1 to max_vcpus', () => {
  const vm = vmWith({});
  for (const legal of [1, 4]) assert.doesNotThrow(() => checkVcpus(legal, vm));
  for (const desired of [0, 5]) {
    assert.throws(() => checkVcpus(desired, vm), {
      code: 'invalid-config',
      message: `desired_vcpus: must be from 1 to max_vcpus (4), got ${desired}`,
    });
  }
});

test('a balloon has whole pages, is smaller than the RAM, and exists from the start', () => {
  const vm = vmWith({ memory: { size: 512 * MIB }, balloon: { size: 0 } });
  assert.doesNotThrow(() => checkBalloon(256 * MIB, vm));
  for (const desired of [512 * MIB, 4097]) {
    assert.throws(() => checkBalloon(desired, vm), { code: 'invalid-config' });
  }
  assert.throws(() => checkBalloon(0, vmWith({})), /the VM has no balloon/);
});

test('a VM that is not booted is resized by its configuration', () => {
  const vm = vmWith({ memory: { size: 512 * MIB }, balloon: { size: 0 } });
  resizeConfig(vm, { desired_vcpus: 2, desired_ram: 1024 * MIB, desired_balloon: 64 * MIB });
  assert.equal(vm.config.cpus.boot_vcpus, 2);
  assert.equal(vm.config.memory.size, 1024 * MIB);
  assert.equal(vm.config.balloon?.size, 64 * MIB);
});

test('a resize that is refused changes nothing', () => {
  const vm = vmWith({ memory: { size: 512 * MIB } });
  const before = vm.config;
  assert.throws(() => resizeConfig(vm, { ...NONE, desired_vcpus: 9, desired_ram: 1024 * MIB }));
  assert.throws(() => resizeConfig(vm, { ...NONE, desired_ram: 1 }));
  assert.throws(() => resizeZoneOfConfig(vm, { id: 'none', desired_ram: 512 * MIB }), {
    message: 'id: no memory zone is called "none"',
  });
  assert.equal(vm.config, before);
});
