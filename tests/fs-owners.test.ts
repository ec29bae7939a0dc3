// Owners, modes and extended attributes of files in a directory that the VMM serves, as root and as an ordinary user.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { boot } from './support/boot.ts';
import type { Shell } from './support/shell.ts';
import { makeFolder, startVmm } from './support/vmm.ts';

/** An ordinary user of the host. */
const USER = 64_321;
/** Numbers of system calls of x86-64. */
const [SETXATTR, GETXATTR, LISTXATTR] = [188, 191, 194];
const [EPERM, ENODATA, EOPNOTSUPP] = [1, 61, 95];

/** A guest with directories of the host at /<tag>. */
interface Guest {
  readonly shell: Shell;
  /** Runs a command as a user of the guest, who is in a supplementary group too. */
  readonly as: (command: string, ids?: { uid: number; gid: number; group: number }) => Promise<string>;
  /** Returns owner and mode in the guest, e.g. `0:0 100644`. */
  readonly stat: (path: string) => Promise<string>;
  /** Returns owner and mode of a file of the directory `src` on the host. */
  readonly onHost: (name: string) => string;
  /** folder of the host with the directories */
  readonly folder: string;
}

interface Setting {
  /** user that starts the VMM; default: root */
  readonly user?: number;
  /** tags, which are also the names of the directories, with options of their own */
  readonly shares: Readonly<Record<string, object>>;
}

async function inGuest({ user, shares }: Setting, act: (guest: Guest) => Promise<void>): Promise<void> {
  assert.equal(process.getuid?.(), 0, 'this test needs root: it starts VMMs as several users');
  const folder = makeFolder();
  try {
    chownSync(folder, user ?? 0, user ?? 0);
    const fs = Object.entries(shares).map(([tag, options]) => {
      const directory = join(folder, tag);
      mkdirSync(directory);
      chownSync(directory, user ?? 0, user ?? 0);
      return { tag, directory, ...options };
    });
    await using vmm = await startVmm({
      socket: join(folder, 'api.sock'),
      ...(user !== undefined && { through: throughUser(user) }),
    });
    using shell = await boot(vmm, { fs }, { tools: true });
    for (const tag of Object.keys(shares))
      await shell.run(`mkdir /${tag} && mount -t virtiofs ${tag} /${tag}`);
    await act(guestOf(shell, folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The user can read this repository and the files of the guest, but write only to what belongs to it. */
function throughUser(user: number): string[] {
  const [id, reading] = [String(user), '+dac_read_search'];
  const ids = ['--reuid', id, '--regid', id, '--clear-groups'];
  return ['setpriv', ...ids, '--inh-caps', reading, '--ambient-caps', reading, '--'];
}

function guestOf(shell: Shell, folder: string): Guest {
  const stat = async (path: string): Promise<string> => {
    const [owner = '', mode = ''] = (await shell.run(`stat -c '%u:%g %f' '${path}'`)).split(' ');
    return `${owner} ${Number.parseInt(mode, 16).toString(8)}`;
  };
  return {
    shell,
    folder,
    stat,
    as: (command, { uid, gid, group } = { uid: 1001, gid: 1002, group: 50 }) => {
      const ids = `$( = ${gid}; $) = "${gid} ${group}"; $< = ${uid}; $> = ${uid};`;
      return shell.run(`perl -e '${ids} exec "/bin/sh", "-c", $ARGV[0]' "${command}" 2>&1`);
    },
    onHost: (name) => {
      const { uid, gid, mode } = lstatSync(join(folder, 'src', name));
      return `${uid}:${gid} ${mode.toString(8)}`;
    },
  };
}

/** Calls a function on the extended attributes of a file in the guest. @returns errno, or `shown` of the result `$n` and `$value` */
async function callAttributes(
  { shell }: Guest,
  { path, name = '' }: { path: string; name?: string },
  call: string,
  shown: string,
): Promise<string> {
  // the function takes variables only
  const variables = `$path = "${path}"; $name = "${name}"; $value = "value" . "x" x 1000;`;
  return shell.run(`perl -e '${variables} $n = syscall(${call}); print $n < 0 ? $! + 0 : ${shown}'`);
}

/** Sets an extended attribute in the guest to `value`. @returns 0, or errno */
async function setAttribute(guest: Guest, path: string, name: string): Promise<number> {
  const call = `${SETXATTR}, $path, $name, $value, 5, 0`;
  return Number(await callAttributes(guest, { path, name }, call, '0'));
}

/** Returns an extended attribute in the guest, or errno. */
function getAttribute(guest: Guest, path: string, name: string): Promise<string> {
  const call = `${GETXATTR}, $path, $name, $value, 1000`;
  return callAttributes(guest, { path, name }, call, 'substr($value, 0, $n)');
}

async function namesOf(guest: Guest, path: string): Promise<string[]> {
  const sorted = 'join(" ", sort(split(/\\0/, substr($value, 0, $n))))';
  const names = await callAttributes(guest, { path }, `${LISTXATTR}, $path, $value, 1000`, sorted);
  return names.split(' ').filter(Boolean);
}

/** Observes what is the same in the guest with a VMM of root and one of an ordinary user. */
async function observeFromGuest(t: TestContext, guest: Guest): Promise<void> {
  const { shell, as, stat } = guest;
  await t.test('files belong to the process that makes them', async () => {
    await shell.run('chmod 1777 /src; echo of root > /src/root');
    assert.equal(
      await as('umask 027; cd /src && echo x > file && mkdir folder && mkfifo fifo && cat file'),
      'x',
    );
    assert.equal(await stat('/src/root'), '0:0 100644');
    assert.equal(await stat('/src/file'), '1001:1002 100640');
    assert.equal(await stat('/src/folder'), '1001:1002 40750');
    assert.equal(await stat('/src/fifo'), '1001:1002 10640');
    assert.match(await as('rm -f /src/root'), /not permitted/);
  });
  await t.test('the guest checks permissions, supplementary groups too', async () => {
    await shell.run(
      'mkdir /src/team /src/closed; chown 0:50 /src/team; chmod 770 /src/team; chmod 700 /src/closed',
    );
    assert.equal(await as('echo y > /src/team/file && cat /src/team/file'), 'y');
    assert.equal(await stat('/src/team/file'), '1001:1002 100644');
    assert.match(await as('echo y > /src/closed/file'), /Permission denied/);
    await shell.run('chown 0:50 /src/team; chmod 2775 /src/team');
    await as('mkdir /src/team/below; echo z > /src/team/other');
    assert.equal(await stat('/src/team/below'), '1001:50 42755');
    assert.equal(await stat('/src/team/other'), '1001:50 100644');
  });
  await t.test('modes and owners change, of files that root of the guest alone can read', async () => {
    await shell.run('chmod 0 /src/file; chown 7:8 /src/file');
    assert.equal(await stat('/src/file'), '7:8 100000');
    assert.equal(await shell.run('cat /src/file; echo w >> /src/file; tail -n 1 /src/file'), 'x\nw');
    assert.match(await as('cat /src/file'), /Permission denied/);
    await shell.run('ln -s file /src/link; chown -h 9:9 /src/link && echo changed > /src/changed');
    assert.equal(await shell.run('cat /src/changed'), 'changed');
  });
  await t.test('set-user-ID works in the guest, until a write', async () => {
    await shell.run('cp "$(which perl)" /src/perl; chmod 4755 /src/perl');
    assert.equal(await stat('/src/perl'), '0:0 104755');
    assert.equal(await as(`/src/perl -e 'print \\"\\$< \\$>\\"'`), '1001 0');
    await shell.run('echo x > /src/suid; chmod 6777 /src/suid');
    await as('echo y >> /src/suid');
    assert.equal(await stat('/src/suid'), '0:0 100777');
    await shell.run('chmod 4755 /src/suid; chown 5 /src/suid');
    assert.equal(await stat('/src/suid'), '5:0 100755');
  });
  await t.test('a device node works in the guest', async () => {
    await shell.run('mknod -m 666 /src/zero c 1 5; mknod -m 600 /src/disk b 8 1; chown 3:4 /src/disk');
    assert.equal(await as('head -c 3 /src/zero | xxd -p'), '000000');
    assert.equal(await stat('/src/disk'), '3:4 60600');
    assert.equal(await shell.run("stat -c '%t:%T' /src/disk"), '8:1');
    assert.equal(await shell.run('find /src -type b'), '/src/disk');
  });
  await t.test('extended attributes, of which some names are reserved', async () => {
    assert.equal(await setAttribute(guest, '/src/changed', 'user.comment'), 0);
    assert.equal(await setAttribute(guest, '/src/changed', 'trusted.overlay.opaque'), 0);
    assert.equal(await getAttribute(guest, '/src/changed', 'trusted.overlay.opaque'), 'value');
    for (const name of ['user.virtiofs.stat', 'trusted.virtiofs.stat']) {
      assert.equal(await setAttribute(guest, '/src/suid', name), EPERM);
      assert.equal(await getAttribute(guest, '/src/suid', name), String(ENODATA));
    }
    assert.deepEqual(await namesOf(guest, '/src/changed'), ['trusted.overlay.opaque', 'user.comment']);
    assert.deepEqual(await namesOf(guest, '/src/suid'), []);
  });
  await t.test('owners are the same after the guest has dropped its cache', async () => {
    const list = `find /src | sort | xargs stat -c '%n %u:%g %f %t:%T'`;
    const before = await shell.run(list);
    await shell.run('umount /src; echo 3 > /proc/sys/vm/drop_caches; mount -t virtiofs src /src');
    assert.equal(await shell.run(list), before);
  });
}

test('owners and modes of a directory that root serves', async (t) => {
  const map = '0:100000:65536';
  const shares = { src: {}, mapped: { uid_map: map, gid_map: map }, plain: { xattr: false } };
  await inGuest({ shares }, async (guest) => {
    await observeFromGuest(t, guest);
    const { shell, as, stat, onHost, folder } = guest;
    await t.test('they are real on the host, but what the host must not honour', () => {
      assert.equal(onHost('file'), '7:8 100000');
      assert.equal(onHost('folder'), '1001:1002 40750');
      assert.equal(onHost('fifo'), '1001:1002 10640');
      assert.equal(onHost('link'), '9:9 120777');
      assert.equal(onHost('team/below'), '1001:50 42755');
      assert.equal(onHost('perl'), '0:0 101755');
      assert.equal(onHost('zero'), '0:0 20000');
      assert.equal(onHost('disk'), '0:0 60000');
    });
    await t.test('a map moves ids, and refuses others', async () => {
      assert.match(await stat('/mapped'), /^65534:65534 /);
      chownSync(join(folder, 'mapped'), 100_000, 100_000);
      await shell.run('echo 3 > /proc/sys/vm/drop_caches; chmod 777 /mapped; echo x > /mapped/root');
      await as('echo x > /mapped/user');
      assert.match(await as('echo x > /mapped/other', { uid: 70_000, gid: 1, group: 1 }), /Value too large/);
      assert.match(await shell.run('chown 70000 /mapped/root 2>&1'), /Value too large/);
      const owners = ['root', 'user'].map((name) => lstatSync(join(folder, 'mapped', name)).uid);
      assert.deepEqual(owners, [100_000, 101_001]);
      assert.equal(await stat('/mapped/user'), '1001:1002 100644');
      assert.deepEqual(readdirSync(join(folder, 'mapped')).toSorted(), ['root', 'user']);
    });
    await t.test('without `xattr`, the guest has no extended attributes', async () => {
      await shell.run('echo x > /plain/file; chmod 4755 /plain/file');
      assert.equal(await setAttribute(guest, '/plain/file', 'user.a'), EOPNOTSUPP);
      assert.equal(await stat('/plain/file'), '0:0 104755');
    });
  });
});

test('owners and modes of a directory that an ordinary user serves', async (t) => {
  const shares = { src: {}, mine: { uid_map: `0:${USER}:1`, gid_map: `0:${USER}:1` } };
  await inGuest({ shares, user: USER }, async (guest) => {
    await observeFromGuest(t, guest);
    const { shell, stat, onHost, folder } = guest;
    await t.test('all files of the host belong to that user', () => {
      assert.equal(onHost('file'), `${USER}:${USER} 100600`);
      assert.equal(onHost('folder'), `${USER}:${USER} 40750`);
      assert.equal(onHost('fifo'), `${USER}:${USER} 100600`);
      assert.equal(onHost('link'), `${USER}:${USER} 120777`);
      assert.equal(onHost('team/below'), `${USER}:${USER} 40755`);
      assert.equal(onHost('perl'), `${USER}:${USER} 100755`);
      assert.equal(onHost('zero'), `${USER}:${USER} 100600`);
    });
    await t.test('a map makes that user root of the guest', async () => {
      await shell.run('echo x > /mine/file');
      assert.equal(await stat('/mine'), '0:0 40755');
      assert.equal(await stat('/mine/file'), '0:0 100644');
      chmodSync(join(folder, 'mine', 'file'), 0o600);
      await shell.run('echo 3 > /proc/sys/vm/drop_caches');
      assert.equal(await stat('/mine/file'), '0:0 100600');
    });
  });
});
