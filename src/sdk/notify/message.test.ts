import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readNotifyMessage } from './message.ts';

test('messages of a boot and of a shutdown', () => {
  for (const [text, message] of [
    ['READY=1\nSTATUS=Ready.', { isReady: true, status: 'Ready.' }],
    ['X_SYSTEMD_UNIT_ACTIVE=ssh-access.target', { reached: 'ssh-access.target' }],
    ['X_SYSTEMD_UNIT_INACTIVE=multi-user.target\n', { left: 'multi-user.target' }],
    ['EXIT_STATUS=42\nX_SYSTEMD_SHUTDOWN=poweroff', { exitStatus: 42, shutdown: 'poweroff' }],
    ['X_SYSTEMD_HOSTNAME=debian', { hostname: 'debian' }],
    [`X_SYSTEMD_MACHINE_ID=${'0a'.repeat(16)}`, { machineId: '0a'.repeat(16) }],
    ['STATUS=a=b', { status: 'a=b' }],
  ] as const) {
    assert.deepEqual(readNotifyMessage(text), message);
  }
});

test('unknown names and invalid values are ignored', () => {
  const invalid = [
    'READY=2',
    'READY',
    '=1',
    'EXIT_STATUS=256',
    'EXIT_STATUS=-1',
    'X_SYSTEMD_SHUTDOWN=',
    '\0',
  ];
  invalid.push('X_SYSTEMD_MACHINE_ID=/etc', 'X_SYSTEMD_UNIT_ACTIVE=a b', '__proto__=1', 'constructor=x');
  for (const text of invalid) assert.deepEqual(readNotifyMessage(text), {}, text);
});

test('a text of the guest is bounded and has no control characters', () => {
  const { status = '' } = readNotifyMessage(`STATUS=\u001B[2J\u202E${'x'.repeat(100_000)}`);
  assert.equal(status.length, 256);
  assert.match(status, /^\?\[2J\?x+$/);
});
