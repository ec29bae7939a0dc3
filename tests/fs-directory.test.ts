// Directories of the host that the VMM serves as file systems of a guest.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { addedDevice, assertRefused, assertStatus } from './support/answers.ts';
import { boot, createAndBoot, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { childrenOf, descriptorsOf, isAlive, qemuOf } from './support/processes.ts';
import type { Shell } from './support/shell.ts';
import { infoOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
/** Characters that options, JSON and shells interpret. */
const NAME = 'd, "é" $x=';
const FILES = 10_000;
/** The capabilities without which root serves a directory as an ordinary user does. */
const ORDINARY = '-chown,-dac_override,-dac_read_search,-fowner,-fsetid,-setgid,-setuid';

/** Makes a directory in the folder of a VMM. */
function directoryIn(vmm: TestVmm, name: string): string {
  const path = join(vmm.folder, name);
  mkdirSync(path);
  return path;
}

/** Runs a command in the guest, whose output is UTF-8. */
async function run(shell: Shell, command: string): Promise<string> {
  return Buffer.from(await shell.run(command), 'latin1').toString('utf8');
}

/** Mounts a tag of the guest at /<tag>; a hot-added device may be initialized yet. */
async function mount(shell: Shell, tag: string): Promise<void> {
  await shell.run(`mkdir -p /${tag}; until mount -t virtiofs ${tag} /${tag} 2>/dev/null; do :; done`);
}

interface Guest {
  readonly vmm: TestVmm;
  readonly shell: Shell;
  /** the directories of the host, by tag */
  readonly host: Readonly<Record<'src' | 'ro' | 'fresh' | 'own' | 'mapped', string>>;
}

test('directories of the host in a guest', async (t) => {
  await using vmm = await startVmm();
  const host = {
    src: directoryIn(vmm, NAME),
    ro: directoryIn(vmm, 'ro'),
    fresh: directoryIn(vmm, 'fresh'),
    own: directoryIn(vmm, 'own'),
    mapped: directoryIn(vmm, 'mapped'),
  };
  writeFileSync(join(host.src, 'from host, "ü"'), 'of the host');
  writeFileSync(join(host.ro, 'kept'), 'kept');
  const memory = { size: 512 * MIB };
  const fs = [
    { tag: 'src', directory: host.src },
    { tag: 'ro', directory: host.ro, readonly: true },
    { tag: 'fresh', directory: host.fresh, cache: 'never' },
    { tag: 'own', directory: host.own, cache: 'always', num_queues: 2, queue_size: 128 },
    { tag: 'mapped', directory: host.mapped, uid_map: '0:100000:10', gid_map: '0:200000:10', xattr: false },
  ];
  using shell = await boot(vmm, { memory, fs, cpus: { boot_vcpus: 2, max_vcpus: 2 } }, { tools: true });
  for (const { tag } of fs) await mount(shell, tag);
  const guest: Guest = { vmm, shell, host };
  await t.test('vm.info shows the configuration', () => configuration(guest));
  await t.test('files of the host are read in the guest, and the reverse', () => bothWays(guest));
  await t.test('a readonly directory is not changed', () => readonly(guest));
  await t.test('changes of the host are seen as `cache` says', () => caches(guest));
  await t.test('users of the guest are those of `uid_map` on the host', () => maps(guest));
  await t.test('a link out of the directory stays in the guest', () => links(guest));
  await t.test(`${FILES} files`, () => manyFiles(guest));
  await t.test('df shows the file system of the host', () => freeSpace(guest));
  await t.test('vmm.ping is answered while the guest reads and writes', () => pings(guest));
  await t.test('vm.counters has the requests', () => counters(guest));
  await t.test('a directory is added to the running VM and removed while mounted', () => hotPlug(guest));
  await t.test('a full disk of the host is ENOSPC', (at) => fullDisk(guest, at));
  await t.test('a VM of an ordinary user has the same directory', () => twoVms(guest));
  await t.test('a reboot', () => reboot(guest));
  await t.test('SIGKILL of the VMM leaves its files only', () => kill(guest));
});

async function configuration({ vmm, host }: Guest): Promise<void> {
  const { fs } = (await infoOf(vmm)).config;
  const rest = { dax: true, cache_size: 2 ** 33 };
  const one = { num_queues: 1, queue_size: 1024, ...rest };
  assert.deepEqual(fs, [
    { tag: 'src', directory: host.src, ...one, id: '_fs0' },
    { tag: 'ro', directory: host.ro, readonly: true, ...one, id: '_fs1' },
    { tag: 'fresh', directory: host.fresh, cache: 'never', ...one, id: '_fs2' },
    { tag: 'own', directory: host.own, cache: 'always', num_queues: 2, queue_size: 128, ...rest, id: '_fs3' },
    {
      ...{ tag: 'mapped', directory: host.mapped, uid_map: '0:100000:10', gid_map: '0:200000:10' },
      ...{ xattr: false, ...one, id: '_fs4' },
    },
  ]);
}

async function bothWays({ shell, host }: Guest): Promise<void> {
  assert.equal(await run(shell, `cat '/src/from host, "ü"'`), 'of the host');
  assert.equal(await run(shell, 'for file in /src/*; do echo "$file"; done'), '/src/from host, "ü"');
  await run(shell, `mkdir -p '/src/ä,b/c'; echo of the guest > '/src/ä,b/c/n=1'; sync`);
  assert.equal(readFileSync(join(host.src, 'ä,b/c/n=1'), 'utf8'), 'of the guest\n');
  // a name that is no text
  await run(shell, `touch "$(printf '/src/\\377\\376')"`);
  const names = readdirSync(host.src, { encoding: 'buffer' }).map((name) => name.toString('latin1'));
  assert.ok(names.includes('\xff\xfe'), names.join());
  const large = 'dd if=/dev/urandom of=/src/large bs=1M count=20 2>/dev/null; md5sum < /src/large';
  const sum = (await run(shell, large)).split(' ')[0];
  assert.equal(
    execFileSync('md5sum', [join(host.src, 'large')], { encoding: 'utf8' }).split(/[ \\]+/)[0],
    sum,
  );
  await run(shell, `mv /src/large '/src/ä,b/l'; ln '/src/ä,b/l' /src/second; rm '/src/ä,b/l'`);
  assert.deepEqual(readdirSync(join(host.src, 'ä,b')), ['c']);
  assert.equal(await run(shell, 'md5sum < /src/second'), `${sum}  -`);
}

async function readonly({ shell, host }: Guest): Promise<void> {
  assert.equal(await run(shell, 'cat /ro/kept'), 'kept');
  const changes = ['echo x > /ro/kept', 'echo x > /ro/new', 'mkdir /ro/d', 'rm /ro/kept', 'chmod 0 /ro/kept'];
  for (const change of changes) {
    assert.match(await run(shell, `(${change}) 2>&1`), /Read-only file system/, change);
  }
  assert.deepEqual(readdirSync(host.ro), ['kept']);
  assert.equal(readFileSync(join(host.ro, 'kept'), 'utf8'), 'kept');
}

async function caches({ shell, host }: Guest): Promise<void> {
  for (const tag of ['src', 'fresh'] as const) {
    const path = join(host[tag], 'changing');
    writeFileSync(path, 'one');
    assert.equal(await run(shell, `cat /${tag}/changing`), 'one', tag);
    writeFileSync(path, 'two and more');
    if (tag === 'fresh') assert.equal(await run(shell, `cat /${tag}/changing`), 'two and more');
    else await until('the guest has checked', async () => /more/.test(await run(shell, 'cat /src/changing')));
  }
  // the guest keeps its writes until it stores them
  const writes = 'for i in $(seq 1000); do echo $i; done > /own/numbers; sync; wc -l < /own/numbers';
  assert.equal(await run(shell, writes), '1000');
  assert.equal(readFileSync(join(host.own, 'numbers'), 'utf8').split('\n').length, 1001);
}

/** Sets an extended attribute by setxattr(2), and prints its error. */
const setAttribute = (path: string): string => {
  const words = `my ($path, $name, $value) = ("${path}", "user.a", "b");`;
  return `perl -e '${words} print syscall(188, $path, $name, $value, 1, 0) == 0 ? "set" : $!'`;
};

async function maps({ shell, host }: Guest): Promise<void> {
  await run(shell, 'echo x > /mapped/root; echo x > /mapped/five; chown 5:6 /mapped/five');
  const owner = (name: string): number[] => {
    const { uid, gid } = statSync(join(host.mapped, name));
    return [uid, gid];
  };
  assert.deepEqual(owner('root'), [100_000, 200_000]);
  assert.deepEqual(owner('five'), [100_005, 200_006]);
  assert.equal(await run(shell, 'stat -c %u:%g /mapped/root /mapped/five'), '0:0\n5:6');
  assert.match(await run(shell, 'chown 10 /mapped/five 2>&1'), /Value too large/);
  // the directory belongs to a user without a counterpart in the guest
  assert.equal(await run(shell, 'stat -c %u:%g /mapped'), '65534:65534');
  assert.match(await run(shell, setAttribute('/mapped/root')), /not supported/);
  assert.equal(await run(shell, setAttribute('/own/numbers')), 'set');
}

async function links({ vmm, shell, host }: Guest): Promise<void> {
  const secret = join(vmm.folder, 'secret');
  writeFileSync(secret, 'of the host alone');
  symlinkSync(secret, join(host.src, 'absolute'));
  symlinkSync('../secret', join(host.src, 'relative'));
  symlinkSync(vmm.folder, join(host.src, 'folder'));
  for (const name of ['absolute', 'relative', 'folder/secret']) {
    assert.match(await run(shell, `cat /src/${name} 2>&1`), /No such file or directory/, name);
  }
  assert.equal(await run(shell, 'readlink /src/absolute'), secret);
  await run(shell, 'echo of the guest > /tmp/inside; ln -s /tmp/inside /src/inside');
  assert.equal(await run(shell, 'cat /src/inside'), 'of the guest');
}

async function manyFiles({ shell, host }: Guest): Promise<void> {
  const many = join(host.src, 'many');
  mkdirSync(many);
  for (let i = 0; i < FILES; i++) writeFileSync(join(many, `file-${i}`), String(i));
  assert.equal(await run(shell, 'find /src/many -type f | wc -l'), String(FILES));
  // files whose size is 4: the numbers from 1000 to 9999
  assert.equal(await run(shell, 'find /src/many -type f -size -5c -size +3c | wc -l'), '9000');
  assert.equal(await run(shell, 'cat /src/many/file-7777'), '7777');
  await run(shell, 'mkdir /src/moved; mv /src/many/file-77* /src/moved; rm -r /src/moved');
  assert.equal(readdirSync(many).length, FILES - 111);
  rmSync(many, { recursive: true });
  await until('they are gone', async () => (await run(shell, '[ -e /src/many ] || echo gone')) === 'gone');
}

async function freeSpace({ shell, host }: Guest): Promise<void> {
  const { blocks, bsize } = statfsSync(host.src);
  const [, line = ''] = (await run(shell, 'df -P -k /src')).split('\n');
  assert.equal(Number(line.split(/ +/)[1]), (blocks * bsize) / 1024, line);
}

async function pings({ vmm, shell }: Guest): Promise<void> {
  const copy =
    'for i in 1 2; do dd if=/dev/zero of=/src/stream bs=1M count=64; cat /src/stream > /dev/null; done 2>/dev/null';
  const guest = { isCopying: true };
  const copying = shell.run(`(${copy}); rm /src/stream`, 300_000).finally(() => (guest.isCopying = false));
  const times: number[] = [];
  while (guest.isCopying) {
    const started = performance.now();
    assertStatus(await vmm.get('vmm.ping'), 200);
    times.push(performance.now() - started);
  }
  await copying;
  const median = times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Infinity;
  assert.ok(median < 100, `the median of ${times.length} answers took ${median.toFixed(1)} ms`);
}

async function counters({ vmm, shell }: Guest): Promise<void> {
  const read = async (): Promise<Readonly<Record<string, number>>> =>
    (await vmm.client.call('vm.counters'))['_fs2'] ?? {};
  const before = await read();
  await run(shell, 'head -c 300000 /dev/zero > /fresh/counted; cat /fresh/counted > /dev/null');
  const after = await read();
  const grown = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
  assert.deepEqual([grown('write_bytes'), grown('read_bytes')], [300_000, 300_000]);
  assert.ok(grown('write_ops') > 0 && grown('read_ops') > 0);
  assert.ok(grown('requests') > grown('write_ops') + grown('read_ops'));
}

async function hotPlug({ vmm, shell }: Guest): Promise<void> {
  const directory = directoryIn(vmm, 'added, "é"');
  writeFileSync(join(directory, 'file'), 'added');
  const before = descriptorsOf(vmm.pid).length;
  const refused = await vmm.put('vm.add-fs', { tag: 'src', directory });
  assertRefused(refused, 400, 'fs[5].tag: fs[0] has the tag src already');
  const missing = join(directory, 'none');
  assertRefused(
    await vmm.put('vm.add-fs', { tag: 'added', directory: missing }),
    500,
    `directory ${missing}: no such file or directory`,
  );
  for (let i = 0; i < 3; i++) {
    const { id } = addedDevice(await vmm.put('vm.add-fs', { tag: 'added', directory }));
    await mount(shell, 'added');
    assert.equal(await run(shell, 'cat /added/file'), 'added');
    await run(shell, `echo ${i} > /added/new; exec 5< /added/file`);
    assert.equal(readFileSync(join(directory, 'new'), 'utf8'), `${i}\n`);
    assertStatus(await vmm.put('vm.remove-device', { id }), 204);
    await until('it is removed', async () => !(id in ((await infoOf(vmm)).device_tree ?? {})));
    await run(shell, 'exec 5<&-; umount -l /added');
    await until('its descriptors are closed', () => descriptorsOf(vmm.pid).length <= before);
  }
}

async function fullDisk({ vmm, shell }: Guest, t: TestContext): Promise<void> {
  const directory = directoryIn(vmm, 'small');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'small', directory]);
  t.after(() => execFileSync('umount', ['-l', directory]));
  const { id } = addedDevice(await vmm.put('vm.add-fs', { tag: 'small', directory }));
  await mount(shell, 'small');
  const fill = '(dd if=/dev/zero of=/small/big bs=1M count=4 conv=fsync) 2>&1';
  assert.match(await run(shell, fill), /No space left on device/);
  assert.equal(await run(shell, 'rm /small/big; echo x > /small/x && cat /small/x'), 'x');
  await run(shell, 'umount /small');
  assertStatus(await vmm.put('vm.remove-device', { id }), 204);
  await until('it is removed', async () => !(id in ((await infoOf(vmm)).device_tree ?? {})));
}

async function twoVms({ shell, host }: Guest): Promise<void> {
  await using other = await startVmm({
    through: ['setpriv', '--bounding-set', ORDINARY, '--inh-caps', ORDINARY, '--'],
  });
  await createAndBoot(other, guestConfig({ fs: [{ tag: 'src', directory: host.src }] }));
  using second = await login(other);
  await mount(second, 'src');
  await run(second, 'echo of the second > /src/second-vm');
  assert.equal(await run(shell, 'cat /src/second-vm'), 'of the second');
  await run(shell, 'echo of the first > /src/first-vm');
  assert.equal(await run(second, 'cat /src/first-vm'), 'of the first');
  await run(second, 'chown 1000:1001 /src/second-vm; chmod 4750 /src/second-vm');
  assert.equal(await run(second, 'stat -c %u:%g:%a /src/second-vm'), '1000:1001:4750');
  const { uid, mode } = statSync(join(host.src, 'second-vm'));
  assert.deepEqual([uid, mode & 0o7777], [process.getuid?.(), 0o750]);
  assertStatus(await other.put('vm.delete'), 204);
  assert.equal(await run(shell, 'cat /src/second-vm'), 'of the second');
}

async function reboot({ vmm, shell }: Guest): Promise<void> {
  await run(shell, 'echo before > /src/kept; exec 6< /src/kept');
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await mount(shell, 'src');
  assert.equal(await run(shell, 'cat /src/kept; echo after > /src/new; cat /src/new'), 'before\nafter');
}

async function kill({ vmm, shell, host }: Guest): Promise<void> {
  const before = readdirSync(vmm.folder);
  shell.type('while :; do echo x >> /src/log; done\r');
  await until('the guest writes', () => readdirSync(host.src).includes('log'));
  const qemu = qemuOf(vmm.pid);
  vmm.kill('SIGKILL');
  assert.equal(await vmm.exited, 'SIGKILL');
  await until('QEMU has exited', () => !isAlive(qemu));
  assert.deepEqual(readdirSync(vmm.folder), before);
}

test('vm.boot names a directory that cannot be served, and leaves nothing', async (t) => {
  await using vmm = await startVmm();
  const missing = join(vmm.folder, 'no, "é"=');
  const file = join(vmm.folder, 'file');
  writeFileSync(file, '');
  const before = descriptorsOf(vmm.pid).length;
  const cases: readonly [name: string, directory: string, reason: string][] = [
    ['a missing one', missing, 'no such file or directory'],
    ['a file', file, 'not a directory'],
    ['one below a file', join(file, 'x'), 'not a directory'],
  ];
  for (const [name, directory, reason] of cases) {
    await t.test(name, async () => {
      assertStatus(await vmm.put('vm.create', guestConfig({ fs: [{ tag: 'src', directory }] })), 204);
      assertRefused(await vmm.put('vm.boot'), 500, `fs _fs0: directory ${directory}: ${reason}`);
      assertStatus(await vmm.put('vm.delete'), 204);
      assert.deepEqual(childrenOf(vmm.pid), []);
      await until('nothing is left open', () => descriptorsOf(vmm.pid).length <= before);
    });
  }
});

test('vm.create names each option that does not fit', async (t) => {
  await using vmm = await startVmm();
  const directory = join(vmm.folder, 'shared');
  mkdirSync(directory);
  const share = { tag: 'src', directory };
  const daemon = { tag: 'src', socket: '/s' };
  const cases: readonly [fs: object, reason: string][] = [
    [{ tag: 'src' }, 'fs[0]: missing field "socket" or "directory"'],
    [{ ...share, socket: '/s' }, 'fs[0]: socket and directory are both given'],
    [{ ...daemon, readonly: true }, 'fs[0].readonly: needs directory'],
    [{ ...daemon, xattr: true }, 'fs[0].xattr: needs directory'],
    [{ ...share, cache: 'alwys' }, 'fs[0].cache: expected one of auto, always, never, got "alwys"'],
    [{ ...share, uid_map: '0:0' }, 'fs[0].uid_map: expected <guest>:<host>:<count>'],
    [{ ...share, gid_map: 7 }, 'fs[0].gid_map: expected a string, got 7'],
    [{ ...share, directory: 'a\0b' }, 'fs[0].directory: expected a string without NUL characters'],
  ];
  for (const [fs, reason] of cases) {
    await t.test(reason, async () => {
      assertRefused(await vmm.put('vm.create', guestConfig({ fs: [fs] })), 400, reason);
    });
  }
});
