import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLoopback, proxyFor } from './proxy.ts';

const PROXY = { HTTPS_PROXY: 'http://proxy.example:3128' };

function hostOf(url: string, env: Readonly<Record<string, string>>): string | undefined {
  return proxyFor(new URL(url), env)?.host;
}

test('the proxy is that of the scheme; lower case has precedence', () => {
  assert.equal(hostOf('https://one.example/', PROXY), 'proxy.example:3128');
  assert.equal(hostOf('http://one.example/', PROXY), undefined);
  assert.equal(hostOf('https://one.example/', { ...PROXY, https_proxy: 'other.example' }), 'other.example');
});

test('NO_PROXY excludes names, their subdomains and ports; loopback never has a proxy', () => {
  const excluded = (url: string, NO_PROXY: string): boolean =>
    hostOf(url, { ...PROXY, NO_PROXY }) === undefined;
  assert.equal(excluded('https://a.one.example/', 'two.example, one.example'), true);
  assert.equal(excluded('https://a.one.example/', '.one.example'), true);
  assert.equal(excluded('https://notone.example/', 'one.example'), false);
  assert.equal(excluded('https://one.example:5000/', 'one.example:443'), false);
  assert.equal(excluded('https://one.example/', '*'), true);
  for (const host of ['localhost', '127.0.0.1:5000', '[::1]:5000', '127.8.8.8'])
    assert.equal(excluded(`https://${host}/`, ''), true);
});

test('names that begin like loopback addresses are not loopback', () => {
  for (const host of ['127.0.0.1.example', 'localhost.example', '1270.0.0.1', '::2'])
    assert.equal(isLoopback(host), false, host);
});

test('a proxy of another protocol is refused, without its password', () => {
  assert.throws(
    () => proxyFor(new URL('https://one.example/'), { HTTPS_PROXY: 'socks5://user:secret@proxy.example' }),
    (error) => error instanceof Error && /HTTPS_PROXY/.test(error.message) && !/secret/.test(error.message),
  );
});
