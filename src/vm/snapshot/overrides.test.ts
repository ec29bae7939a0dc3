import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { withOverrides } from './overrides.ts';

test('a device has at most one override', () => {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, disks: [{ id: 'd', path: '/a' }] });
  const one = { id: 'd', path: '/b', image_type: undefined, backing_files: undefined };
  const disks = [one, { ...one, image_type: 'Qcow2' as const }];
  const others = { net: undefined, vsock: undefined, serial: undefined, console: undefined };
  assert.throws(() => withOverrides(config, { ...others, disks }), {
    code: 'invalid-config',
    message: 'overrides.disks: "d" is there twice',
  });
  assert.equal(withOverrides(config, { ...others, disks: [one] }).disks?.[0]?.path, '/b');
});
