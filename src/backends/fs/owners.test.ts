// Owners, modes and extended attributes through the operations of a shared directory.
import assert from 'node:assert/strict';
import { existsSync, lstatSync, readlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { O_RDWR, O_WRONLY } from '../../native/open-flags.ts';
import { type Attributes, type NodeId, ROOT } from '../fuse/file-system.ts';
import { ENODATA, ENOSYS, EOVERFLOW, EPERM } from './errors.ts';
import type { DirectoryOptions } from './options.ts';
import { assertRoot, asUser, USER } from './test-ownership.ts';
import { CALLER, result, share, type TestShare } from './test-share.ts';

process.umask(0);

const OTHER = { uid: 1001, gid: 1002, pid: 1 };
const RANGE = { guest: 0, host: 200_000, count: 2000 };

function asRoot(options: Omit<DirectoryOptions, 'path'>, act: (shared: TestShare) => void): void {
  assertRoot();
  using shared = share(options);
  act(shared);
}

function ordinarily(options: Omit<DirectoryOptions, 'path'>, act: (shared: TestShare) => void): void {
  assertRoot();
  asUser(() => {
    using shared = share(options);
    act(shared);
  });
}

const RUNS = { 'as root': asRoot, 'as an ordinary user': ordinarily } as const;

function ownerOf({ uid, gid, mode }: Pick<Attributes, 'uid' | 'gid' | 'mode'>): string {
  return `${uid}:${gid} ${mode.toString(8)}`;
}

function onHost(shared: TestShare, name: string): string {
  return ownerOf(lstatSync(shared.at(name)));
}

function creation(shared: TestShare, name: string, mode: number, caller = OTHER) {
  return { ...shared.creation(ROOT, name, mode), caller };
}

function get(shared: TestShare, node: NodeId, name: string): string | number {
  const value = shared.fs.getxattr({ node, name: shared.name(name) });
  return value instanceof Uint8Array ? Buffer.from(value).toString() : Number(value);
}

function set(shared: TestShare, node: NodeId, name: string, text: string) {
  const value = { bytes: Buffer.from(text), flags: 0, killsPrivileges: false };
  return shared.fs.setxattr(CALLER, { node, name: shared.name(name) }, value);
}

for (const [user, run] of Object.entries(RUNS)) {
  test(`${user}, entries that the guest makes belong to their caller`, () => {
    run({}, (shared) => {
      const made = [
        shared.fs.create(creation(shared, 'file', 0o100_644), O_RDWR),
        shared.fs.mkdir(creation(shared, 'folder', 0o040_750)),
        shared.fs.mknod(creation(shared, 'fifo', 0o010_600), 0),
        shared.fs.mknod(creation(shared, 'socket', 0o140_777), 0),
        shared.fs.mknod(creation(shared, 'disk', 0o060_660), 0x801),
        shared.fs.mknod(creation(shared, 'empty', 0o000_600), 0),
      ].map((entry) => ownerOf(result(entry).attributes));
      const expected = ['100644', '40750', '10600', '140777', '60660', '100600'];
      assert.deepEqual(
        made,
        expected.map((mode) => `1001:1002 ${mode}`),
      );
      assert.equal(shared.lookup('disk').attributes.device, 0x801);
      assert.equal(shared.fs.mknod(creation(shared, 'x', 0o040_755), 0), EPERM);
    });
  });

  test(`${user}, owner, mode and size change in one request`, () => {
    run({}, (shared) => {
      const { node } = result(shared.fs.create(creation(shared, 'file', 0o106_755), O_RDWR));
      const change = (one: object) => ownerOf(result(shared.fs.setattr(CALLER, node, one)));
      assert.equal(change({ mode: 0o4_711 }), '1001:1002 104711');
      assert.equal(change({ uid: 0, gid: 0 }), '0:0 100711');
      assert.equal(change({ uid: 7, mode: 0o4_755, size: 10 }), '7:0 104755');
      assert.equal(change({ killsPrivileges: true, size: 5 }), '7:0 100755');
      assert.equal(change({ mode: 0 }), '7:0 100000');
      // root of the guest may read and write it
      const handle = shared.open(node, O_RDWR);
      assert.equal(shared.write(node, handle, 'text'), 4);
      assert.equal(shared.getattr(node).size, 5);
    });
  });

  test(`${user}, the owner of a symlink can be set`, () => {
    run({}, (shared) => {
      const { node } = result(shared.fs.symlink(creation(shared, 'link', 0o120_777), shared.name('to')));
      assert.ok(typeof shared.fs.setattr(CALLER, node, { uid: 0, gid: 0 }) === 'object');
      assert.equal(readlinkSync(shared.at('link')), 'to');
    });
  });

  test(`${user}, types of entries are those that the guest sees`, () => {
    run({}, (shared) => {
      shared.fs.mknod(creation(shared, 'disk', 0o060_660), 0x801);
      shared.fs.mkdir(creation(shared, 'folder', 0o040_755));
      const handle = result(shared.fs.opendir(CALLER, ROOT)).handle;
      const types = (plus: boolean) => {
        const found = shared.readdir(ROOT, handle, { plus });
        return Object.fromEntries(found.map(({ entry }) => [entry.text, entry.type]));
      };
      const directory = 0o040_000;
      const all = { '.': directory, '..': directory, folder: directory, disk: 0o060_000 };
      assert.deepEqual(types(true), all);
      // 0: a program has to ask for the attributes
      assert.deepEqual(types(false), user === 'as root' ? all : { ...all, disk: 0 });
    });
  });

  test(`${user}, a change of the owner or the content removes a capability`, () => {
    run({}, (shared) => {
      const { node } = result(shared.fs.create(creation(shared, 'file', 0o100_755), O_RDWR));
      for (const act of [
        () => shared.fs.setattr(CALLER, node, { uid: 5 }),
        () => shared.fs.setattr(CALLER, node, { size: 0 }),
        () => shared.open(node, O_WRONLY),
      ]) {
        assert.equal(set(shared, node, 'security.capability', 'value'), 0);
        shared.open(node);
        assert.equal(get(shared, node, 'security.capability'), 'value');
        act();
        assert.equal(get(shared, node, 'security.capability'), ENODATA);
      }
    });
  });

  test(`${user}, extended attributes can be turned off, and owners are kept all the same`, () => {
    run({ xattr: false }, (shared) => {
      const { node, attributes } = result(shared.fs.create(creation(shared, 'file', 0o104_755), O_RDWR));
      assert.equal(ownerOf(attributes), '1001:1002 104755');
      assert.equal(set(shared, node, 'user.a', 'x'), ENOSYS);
      assert.equal(get(shared, node, 'user.a'), ENOSYS);
    });
  });
}

test('as an ordinary user, nothing on the host belongs to another one or has special bits', () => {
  ordinarily({}, (shared) => {
    shared.fs.create(creation(shared, 'file', 0o106_555), O_RDWR);
    shared.fs.mkdir(creation(shared, 'folder', 0o043_000));
    shared.fs.mknod(creation(shared, 'disk', 0o060_666), 0x801);
    assert.equal(onHost(shared, 'file'), `${USER}:${USER} 100755`);
    assert.equal(onHost(shared, 'folder'), `${USER}:${USER} 40700`);
    assert.equal(onHost(shared, 'disk'), `${USER}:${USER} 100600`);
  });
});

test('a map of ids applies to callers, owners and attributes', () => {
  asRoot({ uidMap: RANGE, gidMap: RANGE }, (shared) => {
    const { node, attributes } = result(shared.fs.create(creation(shared, 'file', 0o100_640), O_RDWR));
    assert.equal(ownerOf(attributes), '1001:1002 100640');
    assert.equal(onHost(shared, 'file'), '201001:201002 100640');
    assert.equal(shared.fs.setattr(CALLER, node, { uid: 2000 }), EOVERFLOW);
    const outside = { uid: 2000, gid: 0, pid: 1 };
    assert.equal(shared.fs.create(creation(shared, 'other', 0o100_640, outside), O_RDWR), EOVERFLOW);
    assert.equal(shared.fs.mkdir(creation(shared, 'other', 0o040_755, outside)), EOVERFLOW);
    assert.ok(!existsSync(shared.at('other')));
    writeFileSync(shared.at('root'), '');
    assert.equal(ownerOf(shared.lookup('root').attributes), '65534:65534 100666');
  });
});
