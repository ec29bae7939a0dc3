import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf } from './address.ts';

test('a migration URL is a UNIX socket, or host and port', () => {
  assert.deepEqual(addressOf('unix:/tmp/a, "b":1'), { path: '/tmp/a, "b":1' });
  assert.deepEqual(addressOf('unix:relative'), { path: 'relative' });
  assert.deepEqual(addressOf('tcp:host.example:6000'), { host: 'host.example', port: 6000 });
  assert.deepEqual(addressOf('tcp:[fe80::1]:1'), { host: 'fe80::1', port: 1 });
});

test('any other is refused, showing it', () => {
  const bad = [
    '',
    'unix:',
    'file:///x',
    'tcp:',
    'tcp:h',
    'tcp:h:',
    'tcp:h:0',
    'tcp:h:65536',
    'tcp:h:x',
    'tcp:::1:5',
  ];
  for (const url of [...bad, 'http://h:1', 'tcp::5', 'tcp:h:5 ']) {
    assert.throws(() => addressOf(url), {
      code: 'bad-request',
      message: new RegExp(`URL: ${url.replaceAll('/', '\\/')} `),
    });
  }
});
