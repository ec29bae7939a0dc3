import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCredentials } from './credentials.ts';

const cookieOf = (setCookie: string): string => setCookie.split(';')[0] ?? '';

test('a token has 256 bits, is new each time, and is the only text that passes', () => {
  const { token, isToken } = createCredentials('place');
  assert.equal(Buffer.from(token, 'base64url').length, 32);
  assert.notEqual(createCredentials('place').token, token);
  assert.ok(isToken(token));
  for (const wrong of [
    '',
    token.slice(1),
    `${token}x`,
    token.toUpperCase(),
    createCredentials('place').token,
  ])
    assert.ok(!isToken(wrong), wrong);
});

test('the cookie is hidden from scripts and other sites, and is not the token', () => {
  const { token, setCookie, hasCookie } = createCredentials('place');
  assert.match(setCookie, /^nephos-[0-9a-f]{12}=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
  assert.ok(!setCookie.includes(token));
  const cookie = cookieOf(setCookie);
  assert.ok(hasCookie(cookie));
  assert.ok(hasCookie(`a=b;${cookie}; nephos-0=1`));
  // the cookie of an earlier VMM at the same address
  assert.ok(hasCookie(`${cookieOf(createCredentials('place').setCookie)}; ${cookie}`));
  const [name = ''] = cookie.split('=');
  for (const wrong of [undefined, '', `${name}=`, `${name}=${token}`, `x${cookie}`, cookie.slice(0, -1)])
    assert.ok(!hasCookie(wrong), wrong);
});

test('pages at different addresses have cookies of different names', () => {
  const names = ['a', 'b', 'a'].map((place) => createCredentials(place).setCookie.split('=')[0]);
  assert.equal(names[0], names[2]);
  assert.notEqual(names[0], names[1]);
});
