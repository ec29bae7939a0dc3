import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { placeDevices } from '../../plan/placement.ts';
import { checkSaveable } from './saveable.ts';

test('hardware and enclaves are named without a query of QEMU', async () => {
  const qmp = { execute: () => Promise.reject(new Error('QEMU was queried')) };
  const check = (more: object): Promise<void> => {
    const { config } = decodeVmConfig({ kernel: { path: '/k' }, ...more });
    return checkSaveable({ layout: placeDevices(config), qemu: { qmp }, config }, 'be in a snapshot');
  };
  const device = { devices: [{ path: '/sys/bus/pci/devices/0000:01:00.0/', id: 'card, 1' }] };
  await assert.rejects(check(device), /^ApiError: device card, 1: cannot be in a snapshot: it is hardware/);
  const enclave = { sgx_epc: [{ id: 'e', size: 2 ** 20 }] };
  await assert.rejects(check(enclave), /sgx_epc: cannot be in a snapshot: enclave memory/);
  await assert.rejects(check({}), /QEMU was queried/);
});
