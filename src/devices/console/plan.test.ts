import assert from 'node:assert/strict';
import { test } from 'node:test';
import { channelInsteadOf } from '../common/step.ts';
import { propsOf, stepsOf } from '../common/test-kit.ts';
import { debugConsole } from '../debug-console/index.ts';
import { serial } from '../serial/index.ts';
import { console } from './index.ts';

const backendOf = (device: Parameters<typeof stepsOf>[0], json: object) => {
  const [step] = stepsOf(device, json);
  assert.ok(step?.kind === 'chardev');
  return step.backend;
};

test('a PTY, the terminal and a socket are behind a channel to the VMM', () => {
  for (const mode of ['Pty', 'Tty', 'Socket']) {
    assert.deepEqual(backendOf(console, { mode, socket: '/s' }), { type: 'channel', waits: true }, mode);
    assert.deepEqual(backendOf(serial, { mode, socket: '/s' }), { type: 'channel', waits: false }, mode);
  }
});

test('a port with a name takes the place of hvc0, and QEMU keeps its output', () => {
  const json = { mode: 'Socket', socket: '/s', port: 'a,b' };
  assert.deepEqual(backendOf(console, json), { type: 'channel', waits: false });
  const steps = stepsOf(console, json);
  assert.equal(propsOf(steps, 'virtio-serial-pci')['max_ports'], 2);
  assert.deepEqual(propsOf(steps, 'virtserialport'), {
    driver: 'virtserialport',
    chardev: 'x',
    bus: 'x.0',
    nr: 1,
    name: 'a,b',
  });
});

test('a serial port in the modes Null and File has no channel without a viewer', () => {
  const file = '/f';
  assert.deepEqual(backendOf(serial, { mode: 'Null', file }), { type: 'ringbuf' });
  assert.deepEqual(backendOf(serial, { mode: 'File', file }), { type: 'file', path: file });
});

test('QEMU writes the output of hvc0 to a file beside the channel', () => {
  const file = '/f';
  assert.deepEqual(backendOf(console, { mode: 'Null' }), { type: 'channel', waits: true });
  assert.deepEqual(backendOf(console, { mode: 'File', file }), { type: 'channel', waits: true, file });
});

test('a port with a name has no viewers, and no channel in the modes Null and File', () => {
  const port = 'a';
  assert.deepEqual(backendOf(console, { mode: 'Null', port }), { type: 'null' });
  assert.deepEqual(backendOf(console, { mode: 'File', file: '/f', port }), { type: 'file', path: '/f' });
});

test('a viewer replaces a file by a channel beside it', () => {
  assert.deepEqual(channelInsteadOf({ type: 'ringbuf' }), { type: 'channel', waits: false });
  const file = '/f';
  assert.deepEqual(channelInsteadOf({ type: 'file', path: file }), { type: 'channel', waits: true, file });
});

test('a debug console has a channel for a PTY and the terminal alone', () => {
  for (const mode of ['Pty', 'Tty']) {
    assert.deepEqual(backendOf(debugConsole, { mode }), { type: 'channel', waits: false }, mode);
  }
  assert.deepEqual(backendOf(debugConsole, { mode: 'File', file: '/f' }), { type: 'file', path: '/f' });
  assert.deepEqual(backendOf(debugConsole, { mode: 'Null' }), { type: 'null' });
});
