import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { Vm } from './vm.ts';

const { config } = decodeVmConfig({ kernel: { path: '/k' }, net: [{}] });

test('a new VM is Created and has a MAC address for each network', () => {
  const vm = Vm.create(config);
  assert.equal(vm.state, 'Created');
  assert.match(vm.config.net?.[0]?.mac ?? '', /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
});

test('a VM moves along the table of transitions', () => {
  const vm = Vm.create(config);
  for (const [transition, state] of [
    ['boot', 'Running'],
    ['pause', 'Paused'],
    ['reboot', 'Running'],
    ['shutdown', 'Shutdown'],
    ['boot-stopped', 'Paused'],
    ['resume', 'Running'],
  ] as const) {
    vm.change(transition);
    assert.equal(vm.state, state);
  }
});

test('an illegal transition throws and leaves the state', () => {
  const vm = Vm.create(config);
  assert.throws(() => vm.change('resume'), { message: 'the VM is Created: there is no transition "resume"' });
  assert.equal(vm.state, 'Created');
  assert.doesNotThrow(() => vm.checkDelete());
});
