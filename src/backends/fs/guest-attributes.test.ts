import assert from 'node:assert/strict';
import { symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { EEXIST, ENODATA, EOPNOTSUPP, EPERM, ERANGE } from './errors.ts';
import { createGuestAttributes, type GuestAttributes, type KeptPrefix } from './guest-attributes.ts';
import { asUser, TestFiles, USER } from './test-ownership.ts';

const XATTR_CREATE = 1;

interface Attributes {
  readonly get: (name: string) => string | number;
  readonly set: (name: string, value: string, flags?: number) => number;
  readonly remove: (name: string) => number;
  readonly list: () => string[];
}

function of(files: TestFiles, all: GuestAttributes, file: string): Attributes {
  return {
    get: (name) => {
      const value = files.on(file, (fd) => all.get(fd, files.name(name)));
      return typeof value === 'number' ? value : Buffer.from(value).toString('latin1');
    },
    set: (name, value, flags = 0) =>
      files.on(file, (fd) => all.set(fd, files.name(name), { bytes: Buffer.from(value), flags })),
    remove: (name) => files.on(file, (fd) => all.remove(fd, files.name(name))),
    list: () => {
      const names = files.on(file, (fd) => all.list(fd));
      assert.ok(typeof names === 'object');
      return Buffer.from(names).toString().split('\0').slice(0, -1).toSorted();
    },
  };
}

/** Runs as root and as an ordinary user, on a file that belongs to them. */
function both(act: (files: TestFiles, all: GuestAttributes, prefix: KeptPrefix) => void): () => void {
  return () => {
    for (const prefix of ['user.virtiofs.', 'trusted.virtiofs.'] as const) {
      const isRoot = prefix === 'trusted.virtiofs.';
      using files = new TestFiles(isRoot ? 0 : USER, 'tmpfs');
      const all = createGuestAttributes(files.path, prefix);
      const run = (): void => {
        writeFileSync(files.at('file'), '');
        act(files, all, prefix);
      };
      if (isRoot) run();
      else asUser(run);
      all.free();
    }
  };
}

test(
  'attributes of users are the host’s',
  both((files, all) => {
    const guest = of(files, all, 'file');
    assert.equal(guest.get('user.a'), ENODATA);
    assert.equal(guest.set('user.a', 'value'), 0);
    assert.equal(guest.set('user.a', 'x', XATTR_CREATE), EEXIST);
    assert.equal(files.attribute('file', 'user.a'), 'value');
    assert.equal(guest.set('user.empty', ''), 0);
    assert.equal(guest.get('user.empty'), '');
    assert.deepEqual(guest.list(), ['user.a', 'user.empty']);
    assert.equal(guest.remove('user.a'), 0);
    assert.equal(guest.remove('user.a'), ENODATA);
    assert.deepEqual(guest.list(), ['user.empty']);
  }),
);

test(
  'attributes that the host would honour are kept below the prefix',
  both((files, all, prefix) => {
    const guest = of(files, all, 'file');
    const names = ['security.capability', 'security.selinux', 'trusted.overlay.opaque'];
    for (const name of names) {
      assert.equal(guest.set(name, `of ${name}`), 0);
      assert.equal(guest.get(name), `of ${name}`);
      assert.equal(files.attribute('file', name), undefined);
      assert.equal(files.attribute('file', prefix + name), `of ${name}`);
    }
    assert.deepEqual(guest.list(), names);
    for (const name of names) assert.equal(guest.remove(name), 0);
    assert.deepEqual(guest.list(), []);
  }),
);

test(
  'the reserved names are neither seen, nor set, nor removed',
  both((files, all, prefix) => {
    const guest = of(files, all, 'file');
    files.setAttribute('file', `${prefix}stat`, '0:0:');
    for (const name of ['user.virtiofs.stat', 'trusted.virtiofs.stat', 'user.virtiofs.security.capability']) {
      assert.equal(guest.get(name), ENODATA);
      assert.equal(guest.set(name, 'x'), EPERM);
      assert.equal(guest.remove(name), EPERM);
    }
    assert.deepEqual(guest.list(), []);
    assert.equal(files.attribute('file', `${prefix}stat`), '0:0:');
  }),
);

test(
  'other namespaces are not supported, and a name that becomes too long is refused',
  both((files, all) => {
    const guest = of(files, all, 'file');
    for (const name of ['system.posix_acl_access', 'os2.a', 'user', '']) {
      assert.equal(guest.get(name), EOPNOTSUPP);
      assert.equal(guest.set(name, 'x'), EOPNOTSUPP);
      assert.equal(guest.remove(name), EOPNOTSUPP);
    }
    assert.equal(guest.set(`security.${'x'.repeat(240)}`, 'x'), ERANGE);
    assert.equal(guest.set(`user.${'ü'.repeat(60)}`, 'x'), 0);
    assert.deepEqual(guest.list(), [`user.${'ü'.repeat(60)}`]);
  }),
);

test(
  'a capability is removed by a write',
  both((files, all) => {
    const guest = of(files, all, 'file');
    guest.set('security.capability', 'x');
    guest.set('user.a', 'x');
    files.on('file', (fd) => all.dropCapability(fd));
    assert.deepEqual(guest.list(), ['user.a']);
  }),
);

test('a capability that the host has given to a file is seen, and the guest removes it', () => {
  using files = new TestFiles(0, 'tmpfs');
  const all = createGuestAttributes(files.path, 'trusted.virtiofs.');
  writeFileSync(files.at('ping'), '');
  // version 2 of linux/capability.h: CAP_NET_RAW
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  files.setAttribute('ping', 'security.capability', capability);
  const guest = of(files, all, 'ping');
  assert.equal(guest.get('security.capability'), capability.toString('latin1'));
  assert.deepEqual(guest.list(), ['security.capability']);
  assert.equal(guest.set('security.capability', 'other'), 0);
  assert.equal(guest.get('security.capability'), 'other');
  assert.deepEqual(guest.list(), ['security.capability']);
  assert.equal(guest.remove('security.capability'), 0);
  assert.equal(files.attribute('ping', 'security.capability'), undefined);
  assert.equal(guest.remove('security.capability'), ENODATA);
  all.free();
});

test('a symlink has no attributes as an ordinary user, and some as root', () => {
  using files = new TestFiles(USER, 'tmpfs');
  symlinkSync('file', files.at('link'));
  const all = createGuestAttributes(files.path, 'trusted.virtiofs.');
  assert.equal(of(files, all, 'link').set('security.selinux', 'x'), 0);
  all.free();
  asUser(() => {
    const own = createGuestAttributes(files.path, 'user.virtiofs.');
    assert.equal(of(files, own, 'link').get('security.selinux'), ENODATA);
    assert.equal(of(files, own, 'link').set('security.selinux', 'x'), EOPNOTSUPP);
    own.free();
  });
});
