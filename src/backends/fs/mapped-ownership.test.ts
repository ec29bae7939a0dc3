import assert from 'node:assert/strict';
import { chmodSync, lstatSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { EEXIST, EOPNOTSUPP, EPERM } from './errors.ts';
import { createIdMaps, OVERFLOW_ID } from './id-map.ts';
import { mappedOwnership } from './mapped-ownership.ts';
import type { Ownership } from './ownership.ts';
import { asUser, TestFiles, USER } from './test-ownership.ts';

process.umask(0);

/** Runs as an ordinary user in a directory that belongs to that user. */
function ordinarily(
  act: (files: TestFiles, ownership: Ownership) => void,
  {
    type = 'tmpfs',
    maps = createIdMaps(),
  }: { type?: 'tmpfs' | 'ramfs'; maps?: ReturnType<typeof createIdMaps> } = {},
): () => void {
  return () => {
    using files = new TestFiles(USER, type);
    const ownership = mappedOwnership(files.path, maps);
    asUser(() => act(files, ownership));
    ownership.free();
  };
}

function onHost(files: TestFiles, name: string): string {
  const { uid, gid, mode } = lstatSync(files.at(name));
  return `${uid}:${gid} ${mode.toString(8)}`;
}

const KEPT = 'user.virtiofs.stat';

test(
  'a file of any owner belongs to the user on the host, and keeps its owner for the guest',
  ordinarily((files, ownership) => {
    assert.equal(files.make(ownership, 'file', { uid: 0, gid: 42, mode: 0o100_644 }), 0);
    assert.equal(files.owner(ownership, 'file'), '0:42 100644');
    assert.equal(onHost(files, 'file'), `${USER}:${USER} 100644`);
    assert.equal(files.attribute('file', KEPT), '0:42:');
    assert.equal(files.make(ownership, 'folder', { uid: 7, gid: 8, mode: 0o041_777 }), 0);
    assert.equal(files.owner(ownership, 'folder'), '7:8 41777');
    assert.equal(onHost(files, 'folder'), `${USER}:${USER} 40777`);
  }),
);

test(
  'special bits, and modes without access for the user, are kept',
  ordinarily((files, ownership) => {
    const cases: readonly [mode: number, real: string][] = [
      [0o100_000, '100600'],
      [0o100_444, '100644'],
      [0o104_755, '100755'],
      [0o102_070, '100670'],
      [0o040_000, '40700'],
      [0o042_775, '40775'],
    ];
    for (const [mode, real] of cases) {
      const name = mode.toString(8);
      assert.equal(files.make(ownership, name, { uid: USER, gid: USER, mode }), 0);
      assert.equal(files.owner(ownership, name), `${USER}:${USER} ${name}`);
      assert.equal(onHost(files, name), `${USER}:${USER} ${real}`);
    }
  }),
);

test(
  'device nodes, FIFOs and sockets are empty regular files on the host',
  ordinarily((files, ownership) => {
    for (const [mode, device] of [
      [0o020_666, 0x103],
      [0o060_640, 0xfff_00801],
      [0o010_600, 0],
      [0o140_755, 0],
    ] as const) {
      const name = mode.toString(8);
      assert.equal(files.make(ownership, name, { uid: 0, gid: 6, mode, device }), 0);
      writeFileSync(files.at(name), 'content of a process of the host');
      const shown = files.shown(ownership, name);
      assert.deepEqual([shown.mode, shown.device, shown.size], [mode, device, 0]);
      assert.equal(onHost(files, name), `${USER}:${USER} 100600`);
    }
  }),
);

test(
  'owner and mode change one without the other',
  ordinarily((files, ownership) => {
    files.make(ownership, 'file', { uid: 1, gid: 2, mode: 0o106_755 });
    const setOwner = (uid?: number, gid?: number) =>
      files.on('file', (fd) => ownership.setOwner(fd, uid, gid));
    const setMode = (mode: number) => files.on('file', (fd) => ownership.setMode(fd, mode));
    assert.equal(setMode(0o4_750), 0);
    assert.equal(files.owner(ownership, 'file'), '1:2 104750');
    // a change of the owner removes set-user-ID
    assert.equal(setOwner(undefined, 9), 0);
    assert.equal(files.owner(ownership, 'file'), '1:9 100750');
    assert.equal(setOwner(2 ** 32 - 2), 0);
    assert.equal(files.owner(ownership, 'file'), '4294967294:9 100750');
    assert.equal(setMode(0), 0);
    assert.equal(setMode(0o7_777), 0);
    assert.equal(files.owner(ownership, 'file'), '4294967294:9 107777');
    assert.equal(onHost(files, 'file'), `${USER}:${USER} 100777`);
  }),
);

test(
  'a file that needs nothing kept has no attribute, also after a change back',
  ordinarily((files, ownership) => {
    files.make(ownership, 'file', { uid: USER, gid: USER, mode: 0o100_640 });
    const host = '12345:12345 100640';
    assert.equal(files.owner(ownership, 'file'), host);
    assert.equal(files.attribute('file', KEPT), undefined);
    files.on('file', (fd) => {
      ownership.setOwner(fd, 0, 0);
      ownership.setMode(fd, 0o444);
      ownership.setOwner(fd, USER, USER);
      ownership.setMode(fd, 0o640);
    });
    assert.equal(files.attribute('file', KEPT), undefined);
    assert.equal(files.owner(ownership, 'file'), host);
  }),
);

test(
  'a change of permissions by a process of the host is seen',
  ordinarily((files, ownership) => {
    files.make(ownership, 'file', { uid: 3, gid: 4, mode: 0o104_444 });
    chmodSync(files.at('file'), 0o640);
    assert.equal(files.owner(ownership, 'file'), '3:4 100640');
  }),
);

test(
  'a directory with set-group-ID gives its group and, to directories, the bit',
  ordinarily((files, ownership) => {
    files.on('.', (fd) => {
      assert.equal(ownership.setOwner(fd, 0, 77), 0);
      assert.equal(ownership.setMode(fd, 0o2_775), 0);
    });
    files.make(ownership, 'file', { uid: 5, gid: 5, mode: 0o100_644 });
    files.make(ownership, 'folder', { uid: 5, gid: 5, mode: 0o040_755 });
    assert.equal(files.owner(ownership, 'file'), '5:77 100644');
    assert.equal(files.owner(ownership, 'folder'), '5:77 42755');
  }),
);

test(
  'a symlink belongs to the user: other owners are accepted and ignored',
  ordinarily((files, ownership) => {
    assert.equal(files.make(ownership, 'link', { uid: 0, gid: 0, mode: 0o120_777 }), 0);
    files.on('link', (fd) => {
      assert.equal(ownership.setOwner(fd, 0, 0), 0);
      assert.equal(ownership.setMode(fd, 0o600), EOPNOTSUPP);
    });
    assert.equal(files.owner(ownership, 'link'), `${USER}:${USER} 120777`);
  }),
);

test(
  'a text that a process of the host has damaged is ignored',
  ordinarily((files, ownership) => {
    files.make(ownership, 'file', { uid: USER, gid: USER, mode: 0o100_640 });
    for (const text of ['x', '0:0:040755', '0:0:0100644:', 'x'.repeat(1000)]) {
      files.setAttribute('file', KEPT, text);
      const { mode } = files.shown(ownership, 'file');
      assert.equal(mode, 0o100_640, text);
    }
  }),
);

test(
  'without user attributes, other owners, special bits and devices are refused',
  ordinarily(
    (files, ownership) => {
      assert.equal(files.make(ownership, 'file', { uid: 0, gid: 0, mode: 0o100_444 }), 0);
      assert.equal(files.owner(ownership, 'file'), `${USER}:${USER} 100444`);
      files.on('file', (fd) => {
        assert.equal(ownership.setOwner(fd, 0, undefined), EPERM);
        assert.equal(ownership.setOwner(fd, USER, USER), 0);
        assert.equal(ownership.setMode(fd, 0o4_755), EPERM);
        assert.equal(ownership.setMode(fd, 0o050), 0);
      });
      assert.equal(files.owner(ownership, 'file'), `${USER}:${USER} 100050`);
      assert.equal(files.make(ownership, 'suid', { uid: 0, gid: 0, mode: 0o104_755 }), EPERM);
      assert.equal(files.make(ownership, 'null', { uid: 0, gid: 0, mode: 0o020_666, device: 0x103 }), EPERM);
      assert.deepEqual(readdirSync(files.folder), ['file']);
      assert.equal(files.make(ownership, 'file', { uid: 0, gid: 0, mode: 0o100_444 }), EEXIST);
    },
    { type: 'ramfs' },
  ),
);

test(
  'a map shows the user as another one, so that files of that one keep no owner',
  ordinarily(
    (files, ownership) => {
      files.make(ownership, 'file', { uid: 0, gid: 0, mode: 0o100_644 });
      assert.equal(files.owner(ownership, 'file'), '0:0 100644');
      assert.equal(files.attribute('file', KEPT), undefined);
      files.on('file', (fd) => ownership.setOwner(fd, 5, USER));
      assert.equal(files.owner(ownership, 'file'), `5:${USER} 100644`);
      const mode = statSync(files.at('..')).mode.toString(8);
      assert.equal(files.owner(ownership, '..'), `${OVERFLOW_ID}:${OVERFLOW_ID} ${mode}`);
    },
    { maps: createIdMaps({ guest: 0, host: USER, count: 1 }, { guest: 0, host: USER, count: 1 }) },
  ),
);
