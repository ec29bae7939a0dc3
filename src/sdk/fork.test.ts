import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cloneHostname } from '../guest/identity/clone-identity.ts';
import { ForkError } from './errors.ts';
import { checkForkOptions, wantsIdentity, type ForkOptions, type ForkSource } from './fork.ts';

const SOURCE: ForkSource = { config: { vsock: {} }, guest: {}, isConnected: true };

test('clones get an identity of their own where the VM is used by SSH, as root', () => {
  const rows: readonly (readonly [ForkOptions, Partial<ForkSource>, boolean])[] = [
    [{}, {}, true],
    [{}, { isConnected: false }, false],
    [{}, { isConnected: false, guest: { privateKey: 'key' } }, true],
    [{}, { guest: { user: 'root' } }, true],
    [{}, { guest: { user: 'alice' } }, false],
    [{}, { config: {} }, false],
    [{ resume: false }, {}, false],
    [{ identity: false }, {}, false],
    [{ identity: true }, { isConnected: false }, true],
    [{ hostname: () => 'a' }, { isConnected: false }, true],
  ];
  for (const [options, source, expected] of rows)
    assert.equal(
      wantsIdentity(options, { ...SOURCE, ...source }),
      expected,
      JSON.stringify([options, source]),
    );
});

test('options of a fork that exclude each other, and names that are no host names', () => {
  const rows: readonly (readonly [ForkOptions, RegExp])[] = [
    [{ resume: false, identity: true }, /does not run/],
    [{ resume: false, hostname: () => 'a' }, /does not run/],
    [{ identity: false, hostname: () => 'a' }, /needs the identity/],
    [{ hostname: (index) => `${index} b` }, /"0 b" is no host name/],
    [{ hostname: () => '' }, /is no host name/],
    [{ hostname: () => 'a'.repeat(65) }, /is no host name/],
  ];
  for (const [options, message] of rows)
    assert.throws(
      () => checkForkOptions(options, 2),
      (error) => error instanceof ForkError && message.test(error.message),
    );
  checkForkOptions({ resume: false, identity: false }, 2);
  checkForkOptions({ hostname: (index) => `build-${index}.example_1` }, 2);
});

test('the host name of a clone replaces the end of that of another clone', () => {
  const suffix = '0a1b2c3d';
  assert.equal(cloneHostname('web', suffix), 'web-0a1b2c3d');
  assert.equal(cloneHostname('web-deadbeef', suffix), 'web-0a1b2c3d');
  assert.equal(cloneHostname('web-1', suffix), 'web-1-0a1b2c3d');
  assert.equal(cloneHostname('(none)', suffix), 'clone-0a1b2c3d');
  assert.equal(cloneHostname('a'.repeat(64), suffix), `${'a'.repeat(55)}-0a1b2c3d`);
});
