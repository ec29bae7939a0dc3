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
  platform: undefined,
  payload: undefined,
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

test('a console gets another file or another socket, and its mode with it', () => {
  const { config } = decodeVmConfig({
    kernel: { path: '/k' },
    serial: { mode: 'File', file: '/a.log' },
    console: { mode: 'Socket', socket: '/a.sock' },
  });
  const serial = { file: undefined, socket: '/b.sock' };
  const toSocket = withOverrides(config, { ...others, serial });
  assert.deepEqual(toSocket.serial, { ...config.serial, mode: 'Socket', file: undefined, socket: '/b.sock' });
  assert.deepEqual(toSocket.console, config.console);
  const toFile = withOverrides(config, { ...others, console: { file: '/b.log', socket: undefined } });
  assert.deepEqual(toFile.console, { ...config.console, mode: 'File', file: '/b.log', socket: undefined });
});

test('a console that is off, or an override without exactly one path, is refused', () => {
  const { config } = decodeVmConfig({
    kernel: { path: '/k' },
    serial: { mode: 'Pty' },
    console: { mode: 'Off' },
  });
  for (const [override, code, message] of [
    [
      { console: { file: undefined, socket: '/s' } },
      'unknown-device',
      /the snapshot has no device "console"/,
    ],
    [{ serial: { file: '/f', socket: '/s' } }, 'invalid-config', /serial: expected either file or socket/],
    [{ serial: { file: undefined, socket: undefined } }, 'invalid-config', /expected either file or socket/],
    [{ serial: { file: '', socket: undefined } }, 'invalid-config', /serial\.file: Path missing/],
    [{ serial: { file: undefined, socket: '' } }, 'invalid-config', /serial\.socket: Path missing/],
  ] as const) {
    assert.throws(() => withOverrides(config, { ...others, ...override }), { code, message });
  }
});

test('OEM strings and the file of EFI variables change where the machine has them', () => {
  const { config } = decodeVmConfig({
    payload: { firmware: '/OVMF_CODE.fd', firmware_vars: '/a' },
    platform: { oem_strings: ['a'], serial_number: '1' },
  });
  const overrides = { platform: { oem_strings: ['b', 'c'] }, payload: { firmware_vars: '/b' } };
  const changed = withOverrides(config, { ...others, ...overrides });
  assert.deepEqual(changed.platform, { ...config.platform, oem_strings: ['b', 'c'] });
  assert.deepEqual(changed.payload, { ...config.payload, firmware_vars: '/b' });
  const { config: plain } = decodeVmConfig({ kernel: { path: '/k' } });
  for (const [member, value] of Object.entries(overrides)) {
    assert.throws(() => withOverrides(plain, { ...others, [member]: value }), { code: 'unknown-device' });
  }
});
