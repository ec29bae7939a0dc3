import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stepsOf } from '../common/test-kit.ts';
import { serial } from '../serial/index.ts';
import { console } from './index.ts';

const backendOf = (device: typeof console | typeof serial, json: object) => {
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

test('a file is the direct back-end of the output; without a destination the back-end is null', () => {
  assert.deepEqual(backendOf(console, { mode: 'File', file: '/f' }), { type: 'file', path: '/f' });
  assert.deepEqual(backendOf(console, { mode: 'Null', file: '/f' }), { type: 'null' });
});
