import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from './challenge.ts';

function parsed(header: string): (readonly [string, Record<string, string>])[] {
  return parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
}

test('a Bearer challenge has its parameters, with quoted commas and equals signs', () => {
  const header =
    'Bearer realm="https://auth.example/token?a=b,c",service="registry",scope="repository:a:pull"';
  assert.deepEqual(parsed(header), [
    [
      'bearer',
      { realm: 'https://auth.example/token?a=b,c', service: 'registry', scope: 'repository:a:pull' },
    ],
  ]);
});

test('several challenges of one header are separate', () => {
  assert.deepEqual(parsed('Basic realm="a \\"b\\"", Bearer realm=x , Service=y'), [
    ['basic', { realm: 'a "b"' }],
    ['bearer', { realm: 'x', service: 'y' }],
  ]);
});

test('a scheme without parameters, an empty header and a broken rest are accepted', () => {
  assert.deepEqual(parsed('Negotiate'), [['negotiate', {}]]);
  assert.deepEqual(parsed(''), []);
  assert.deepEqual(parsed('Basic realm="open')[0], ['basic', {}]);
});

test('a hostile header is parsed in little time', () => {
  const start = performance.now();
  for (const text of [
    'a="\\'.repeat(2000),
    ' ,'.repeat(4000),
    'a='.repeat(4000),
    '"'.repeat(8000),
    'x'.repeat(1e6),
  ])
    parseChallenges(text);
  assert.ok(performance.now() - start < 1000);
});
