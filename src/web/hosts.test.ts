import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostCheck, isLoopbackAddress, isOwnOrigin, urlHost } from './hosts.ts';
import type { BoundAddress } from './listener.ts';

const LOOPBACK: BoundAddress = { address: '127.0.0.1', port: 8080 };

function assertHosts(
  check: (host?: string) => boolean,
  allowed: string[],
  refused: (string | undefined)[],
): void {
  assert.deepEqual(
    allowed.filter((host) => !check(host)),
    [],
  );
  assert.deepEqual(
    refused.filter((host) => check(host)),
    [],
  );
}

test('a loopback address is reached by itself and by localhost, with its port', () => {
  assertHosts(
    hostCheck(LOOPBACK, '127.0.0.1'),
    ['127.0.0.1:8080', 'localhost:8080', 'LOCALHOST:8080'],
    [
      ...[
        undefined,
        '',
        '127.0.0.1',
        '127.0.0.1:8081',
        'localhost',
        '127.0.0.2:8080',
        '[::1]:8080',
        '[x]:8080',
      ],
      ...[
        'evil.example:8080',
        '127.0.0.1.evil.example:8080',
        'localhost.:8080',
        'localhost:8080@evil.example',
      ],
      ...['a b:8080', '127.0.0.1:8080:8080', '127.0.0.1:08080x', '2130706433:8080'],
    ],
  );
  assertHosts(
    hostCheck({ address: '::1', port: 80 }),
    ['[::1]', '[::1]:80', 'localhost'],
    ['[::1]:81', '::1'],
  );
});

test('a name of the command line is allowed beside its address, other names are not', () => {
  const check = hostCheck({ address: '192.0.2.1', port: 8080 }, 'Host.Example');
  assertHosts(
    check,
    ['host.example:8080', '192.0.2.1:8080'],
    ['localhost:8080', '192.0.2.2:8080', 'example:8080'],
  );
});

test('all interfaces are reached by any address, by no other name than localhost', () => {
  for (const address of ['0.0.0.0', '::']) {
    assertHosts(
      hostCheck({ address, port: 1 }),
      ['192.0.2.7:1', '[2001:db8::1]:1', 'localhost:1'],
      ['evil.example:1', '192.0.2.7:2', '192.0.2.7'],
    );
  }
});

test('a UNIX socket is reached by loopback names with any port', () => {
  assertHosts(
    hostCheck({ path: '/run/vm.sock' }),
    ['localhost', 'localhost:9000', '127.0.0.1:1', '[::1]:5'],
    ['evil.example', '192.0.2.1', undefined, '/run/vm.sock'],
  );
});

test('an origin is own if it has the scheme, the name and the port of the page', () => {
  assert.equal(isOwnOrigin('http://127.0.0.1:8080', '127.0.0.1:8080'), true);
  assert.equal(isOwnOrigin('http://localhost:8080', 'LOCALHOST:8080'), true);
  for (const origin of [
    'null',
    '',
    'https://127.0.0.1:8080',
    'http://127.0.0.1',
    'http://127.0.0.1:8080.evil.example',
  ])
    assert.equal(isOwnOrigin(origin, '127.0.0.1:8080'), false, origin);
});

test('URLs have brackets around IPv6, the said name, and an address in place of all interfaces', () => {
  assert.equal(urlHost({ address: '127.0.0.1', port: 1 }), '127.0.0.1:1');
  assert.equal(urlHost({ address: '::1', port: 1 }), '[::1]:1');
  assert.equal(urlHost({ address: '127.0.0.1', port: 1 }, 'localhost'), 'localhost:1');
  assert.equal(urlHost({ address: '0.0.0.0', port: 1 }, '0.0.0.0'), '127.0.0.1:1');
  assert.equal(urlHost({ address: '::', port: 1 }, '::'), '[::1]:1');
});

test('loopback addresses are told from others', () => {
  assert.deepEqual(
    ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', '0.0.0.0', '::', '10.0.0.1', '1127.0.0.1'].filter(
      isLoopbackAddress,
    ),
    ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'],
  );
});
