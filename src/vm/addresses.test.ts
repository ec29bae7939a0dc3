import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { withAddresses } from './addresses.ts';

const MAC = '2e:00:00:00:00:03';

test('networks have different addresses from the start, and keep those that were given', () => {
  const net = [{ tap: 'a' }, { tap: 'b', mac: MAC }, { tap: 'c' }];
  const config = withAddresses(decodeVmConfig({ kernel: { path: '/k' }, net }).config);
  const macs = (config.net ?? []).map(({ mac }) => mac ?? '');
  assert.equal(macs[1], MAC);
  assert.equal(new Set(macs).size, 3);
  for (const mac of macs) assert.match(mac, /^2e(:[\da-f]{2}){5}$/);
  assert.equal(withAddresses(config), config);
});
