import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { withOverrides } from './overrides.ts';

const others = {
  disks: undefined,
  net: undefined,
  vsock: undefined,
  fs: undefined,
  serial: undefined,
  console: undefined,
};

test('a device has at most one override', () => {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, disks: [{ id: 'd', path: '/a' }] });
  const one = { id: 'd', path: '/b', image_type: undefined, backing_files: undefined };
  const disks = [one, { ...one, image_type: 'Qcow2' as const }];
  assert.throws(() => withOverrides(config, { ...others, disks }), {
    code: 'invalid-config',
    message: 'overrides.disks: "d" is there twice',
  });
  assert.equal(withOverrides(config, { ...others, disks: [one] }).disks?.[0]?.path, '/b');
});

test('a file system gets another directory, unless a daemon serves it', () => {
  const { config } = decodeVmConfig({
    kernel: { path: '/k' },
    memory: { size: 2 ** 28, shared: true },
    fs: [
      { id: 'src', tag: 'src', directory: '/a', readonly: true },
      { id: 'daemon', tag: 'daemon', socket: '/s' },
    ],
  });
  const changed = withOverrides(config, { ...others, fs: [{ id: 'src', directory: '/b' }] });
  assert.deepEqual(changed.fs?.[0], { ...config.fs?.[0], directory: '/b' });
  assert.deepEqual(changed.fs?.[1], config.fs?.[1]);
  for (const [id, code, message] of [
    ['daemon', 'invalid-config', /"daemon" has no directory/],
    ['other', 'unknown-device', /overrides\.fs: the snapshot has no device "other"/],
  ] as const) {
    const overrides = { ...others, fs: [{ id, directory: '/b' }] };
    assert.throws(() => withOverrides(config, overrides), { code, message });
  }
});
