import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDaemonOptions } from './daemon-options.ts';
import { OptionError } from './flags.ts';
import { readWebAddress } from './sockets.ts';

test('--web takes a port, an address with a port, a socket or a descriptor', () => {
  assert.deepEqual(readWebAddress('8080'), { host: '127.0.0.1', port: 8080 });
  assert.deepEqual(readWebAddress('0'), { host: '127.0.0.1', port: 0 });
  assert.deepEqual(readWebAddress('127.0.0.1:8080'), { host: '127.0.0.1', port: 8080 });
  assert.deepEqual(readWebAddress('0.0.0.0:65535'), { host: '0.0.0.0', port: 65535 });
  assert.deepEqual(readWebAddress('[::1]:80'), { host: '::1', port: 80 });
  assert.deepEqual(readWebAddress('host-1.example:80'), { host: 'host-1.example', port: 80 });
  assert.deepEqual(readWebAddress('fd=3'), { fd: 3 });
  assert.deepEqual(readWebAddress('path=/a b,"é":80'), { path: '/a b,"é":80' });
});

test('--web refuses other texts with the forms that it takes', () => {
  for (const text of [
    '',
    ':80',
    '127.0.0.1',
    '127.0.0.1:',
    '::1:80',
    '[::1]',
    '[x]:80',
    '1:2:3',
    '65536',
    '-1',
    '/a',
  ])
    assert.throws(
      () => readWebAddress(text),
      (error) => {
        assert.ok(error instanceof OptionError);
        assert.match(error.message, /^Error parsing --web: .* is not an address and a port$/);
        assert.match(error.hint ?? '', /^expected <port>/);
        return true;
      },
      text,
    );
  for (const text of ['path=', 'fd=', 'fd=x', 'fd=-1'])
    assert.throws(() => readWebAddress(text), /Error parsing --web: /, text);
});

test('there is no page unless it is asked for', () => {
  assert.equal(readDaemonOptions(['--api-socket', '/a']).web, undefined);
  assert.deepEqual(readDaemonOptions(['--web', '1']).web, { host: '127.0.0.1', port: 1 });
});
