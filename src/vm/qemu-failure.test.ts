import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { placeDevices } from '../plan/placement.ts';
import { QemuError } from '../qemu/process/qemu-error.ts';
import { qemuFailure } from './qemu-failure.ts';

test('the error of a forward has its address; host port 0 cannot be in use', () => {
  const net = [{ id: 'n', backend: 'User' }];
  const { placements } = placeDevices(decodeVmConfig({ kernel: { path: '/k' }, net }).config);
  const told = (rule: string): string => {
    const error = new QemuError(`Could not set up host forwarding rule '${rule}'`, 'nn');
    return qemuFailure(error, placements, 'not named').message;
  };
  assert.equal(told('tcp:8.8.8.8:0-:53'), 'net n: forward: 8.8.8.8:0 (tcp): this host has no such address');
  assert.match(told('udp:127.0.0.1:53-:53'), /^net n: forward: 127\.0\.0\.1:53 \(udp\) is in use by another/);
});
