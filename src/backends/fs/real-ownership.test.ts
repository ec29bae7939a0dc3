import assert from 'node:assert/strict';
import { chmodSync, lstatSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { libc } from '../../native/libc.ts';
import { O_WRONLY } from '../../native/open-flags.ts';
import { takeCredentials, type Credentials } from './credentials.ts';
import { EACCES, EOPNOTSUPP, EOVERFLOW, EPERM } from './errors.ts';
import { createIdMaps, OVERFLOW_ID, type IdMaps } from './id-map.ts';
import type { Ownership } from './ownership.ts';
import { realOwnership } from './real-ownership.ts';
import { assertRoot, TestFiles, USER } from './test-ownership.ts';

const KEPT = 'trusted.virtiofs.stat';
const RANGE = { guest: 0, host: 100_000, count: 1000 };
let credentials: Credentials | undefined;

process.umask(0);

/** Runs as root in a directory that belongs to root. */
function asRoot(
  act: (files: TestFiles, ownership: Ownership) => void,
  { type = 'tmpfs', maps = createIdMaps() }: { type?: 'tmpfs' | 'ramfs'; maps?: IdMaps } = {},
): () => void {
  return () => {
    assertRoot();
    using files = new TestFiles(0, type);
    credentials ??= takeCredentials();
    assert.ok(credentials !== undefined);
    const ownership = realOwnership(files.path, maps, credentials);
    act(files, ownership);
    ownership.free();
  };
}

function onHost(files: TestFiles, name: string): string {
  const { uid, gid, mode } = lstatSync(files.at(name));
  return `${uid}:${gid} ${mode.toString(8)}`;
}

/** Capabilities and file system ids of this thread. */
function identity(): string {
  const status = readFileSync('/proc/thread-self/status', 'utf8');
  return (status.match(/^(?:Uid|Gid|Groups|CapEff):.*/gm) ?? []).join('\n');
}

test(
  'files belong to the caller on the host',
  asRoot((files, ownership) => {
    const own = identity();
    for (const mode of [0o100_640, 0o041_755, 0o010_600, 0o140_755, 0o120_777]) {
      const name = mode.toString(8);
      assert.equal(files.make(ownership, name, { uid: USER, gid: 7, mode }), 0);
      assert.equal(files.owner(ownership, name), `${USER}:7 ${name}`);
      assert.equal(onHost(files, name), `${USER}:7 ${name}`);
      assert.equal(identity(), own);
    }
  }),
);

test(
  'a file is made as its caller, and again where the host does not permit that',
  asRoot((_files, ownership) => {
    const making = { caller: { uid: USER, gid: 7, pid: 1 }, mode: 0o100_644 };
    const during: string[] = [];
    const made = ownership.make(making, () => {
      during.push(identity());
      return during.length === 1 ? -EACCES : 42;
    });
    assert.equal(made, 42);
    for (const [i, text] of during.entries()) {
      assert.match(text, new RegExp(`^Uid:\\t0\\t0\\t0\\t${USER}$`, 'm'));
      assert.match(text, /^Gid:\t0\t0\t0\t7$/m);
      const effective = BigInt(`0x${/CapEff:\t(\w+)/.exec(text)?.[1] ?? ''}`);
      // CAP_CHOWN, CAP_FOWNER, CAP_FSETID, CAP_MKNOD; then CAP_DAC_OVERRIDE
      for (const capability of [0n, 3n, 4n, 27n]) assert.equal((effective >> capability) & 1n, 0n);
      assert.equal((effective >> 1n) & 1n, BigInt(i));
    }
  }),
);

test(
  'the thread is itself again after a fault',
  asRoot((_files, ownership) => {
    const own = identity();
    assert.match(own, /^Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\s*$/m);
    const making = { caller: { uid: USER, gid: 7, pid: 1 }, mode: 0o100_644 };
    assert.throws(() =>
      ownership.make(making, () => {
        throw new Error('a fault');
      }),
    );
    assert.equal(identity(), own);
  }),
);

test(
  'a caller makes a file where a supplementary group of the guest permits it',
  asRoot((files, ownership) => {
    chmodSync(files.folder, 0o770);
    assert.equal(files.make(ownership, 'file', { uid: USER, gid: 7, mode: 0o100_640 }), 0);
    assert.equal(onHost(files, 'file'), `${USER}:7 100640`);
  }),
);

test(
  'special bits of a file are the guest’s alone; the host sees a sticky bit',
  asRoot((files, ownership) => {
    assert.equal(files.make(ownership, 'suid', { uid: 0, gid: 0, mode: 0o104_755 }), 0);
    assert.equal(files.owner(ownership, 'suid'), '0:0 104755');
    assert.equal(onHost(files, 'suid'), '0:0 101755');
    assert.equal(files.attribute('suid', KEPT), '::0104755');
    const setMode = (mode: number) => files.on('suid', (fd) => ownership.setMode(fd, mode));
    for (const mode of [0o7_711, 0o1_600, 0o2_755]) {
      assert.equal(setMode(mode), 0);
      assert.equal(files.owner(ownership, 'suid'), `0:0 10${mode.toString(8)}`);
      assert.equal(onHost(files, 'suid'), `0:0 ${(0o101_000 | (mode & 0o777)).toString(8)}`);
    }
    assert.equal(setMode(0o644), 0);
    assert.equal(onHost(files, 'suid'), '0:0 100644');
    assert.equal(files.attribute('suid', KEPT), undefined);
  }),
);

test(
  'a change of the owner is real, and removes set-user-ID, kept or real',
  asRoot((files, ownership) => {
    files.make(ownership, 'kept', { uid: 0, gid: 0, mode: 0o106_755 });
    writeFileSync(files.at('real'), '');
    chmodSync(files.at('real'), 0o6_755);
    assert.equal(files.owner(ownership, 'real'), '0:0 106755');
    for (const name of ['kept', 'real']) {
      assert.equal(
        files.on(name, (fd) => ownership.setOwner(fd, USER, undefined)),
        0,
      );
      assert.equal(files.owner(ownership, name), `${USER}:0 100755`);
      assert.equal(onHost(files, name), `${USER}:0 100755`);
    }
    files.make(ownership, 'link', { uid: 0, gid: 0, mode: 0o120_777 });
    assert.equal(
      files.on('link', (fd) => ownership.setOwner(fd, 8, 9)),
      0,
    );
    assert.equal(onHost(files, 'link'), '8:9 120777');
    assert.equal(
      files.on('link', (fd) => ownership.setMode(fd, 0o600)),
      EOPNOTSUPP,
    );
  }),
);

test(
  'a write to a program of the host removes its set-user-ID bit',
  asRoot((files, ownership) => {
    writeFileSync(files.at('su'), 'a program');
    chmodSync(files.at('su'), 0o4_755);
    const fd = libc().openat(-1, files.name(files.at('su')).address, O_WRONLY, 0);
    writeSync(fd, 'another');
    libc().close(fd);
    assert.equal(onHost(files, 'su'), '0:0 100755');
    assert.equal(files.owner(ownership, 'su'), '0:0 100755');
  }),
);

test(
  'directories have set-group-ID on the host, of any group',
  asRoot((files, ownership) => {
    files.make(ownership, 'folder', { uid: USER, gid: 7, mode: 0o040_755 });
    assert.equal(
      files.on('folder', (fd) => ownership.setMode(fd, 0o3_775)),
      0,
    );
    assert.equal(onHost(files, 'folder'), `${USER}:7 43775`);
    assert.equal(files.owner(ownership, 'folder'), `${USER}:7 43775`);
    files.make(ownership, 'folder/below', { uid: USER, gid: USER, mode: 0o100_644 });
    assert.equal(onHost(files, 'folder/below'), `${USER}:7 100644`);
  }),
);

test(
  'a device node belongs to root on the host; its owner and mode are the guest’s alone',
  asRoot((files, ownership) => {
    assert.equal(files.make(ownership, 'disk', { uid: 5, gid: 6, mode: 0o060_666, device: 0x801 }), 0);
    assert.equal(files.owner(ownership, 'disk'), '5:6 60666');
    assert.equal(files.shown(ownership, 'disk').device, 0x801);
    assert.equal(onHost(files, 'disk'), '0:0 60000');
    files.on('disk', (fd) => {
      assert.equal(ownership.setOwner(fd, undefined, 9), 0);
      assert.equal(ownership.setMode(fd, 0o600), 0);
    });
    assert.equal(files.owner(ownership, 'disk'), '5:9 60600');
    assert.equal(onHost(files, 'disk'), '0:0 60000');
  }),
);

test(
  'without trusted attributes, special bits and device nodes are refused, owners are not',
  asRoot(
    (files, ownership) => {
      assert.equal(files.make(ownership, 'file', { uid: 5, gid: 6, mode: 0o100_640 }), 0);
      assert.equal(
        files.on('file', (fd) => ownership.setMode(fd, 0o4_755)),
        EPERM,
      );
      assert.equal(files.owner(ownership, 'file'), '5:6 100640');
      assert.equal(files.make(ownership, 'suid', { uid: 0, gid: 0, mode: 0o104_755 }), EPERM);
      assert.equal(files.make(ownership, 'null', { uid: 0, gid: 0, mode: 0o020_666, device: 0x103 }), EPERM);
      assert.deepEqual(readdirSync(files.folder), ['file']);
    },
    { type: 'ramfs' },
  ),
);

test(
  'a map moves ids, and refuses those of the guest that are outside',
  asRoot(
    (files, ownership) => {
      assert.equal(files.make(ownership, 'file', { uid: 0, gid: 999, mode: 0o100_640 }), 0);
      assert.equal(onHost(files, 'file'), '100000:100999 100640');
      assert.equal(files.owner(ownership, 'file'), '0:999 100640');
      assert.equal(files.owner(ownership, '.'), `${OVERFLOW_ID}:${OVERFLOW_ID} 41777`);
      assert.equal(files.make(ownership, 'other', { uid: 1000, gid: 0, mode: 0o100_640 }), EOVERFLOW);
      files.on('file', (fd) => {
        assert.equal(ownership.setOwner(fd, undefined, 1000), EOVERFLOW);
        assert.equal(ownership.setOwner(fd, 3, 4), 0);
      });
      assert.equal(onHost(files, 'file'), '100003:100004 100640');
      assert.deepEqual(readdirSync(files.folder), ['file']);
    },
    { maps: createIdMaps(RANGE, RANGE) },
  ),
);
