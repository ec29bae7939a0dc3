// Changes by the host to a directory that is mounted in a guest: removed, replaced, made read-only, filled; and one without rights.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import type { Shell } from './support/shell.ts';
import { makeFolder, startVmm } from './support/vmm.ts';

const USER = 64_322;
const TAGS = ['removed', 'replaced', 'fixed', 'full', 'changed'] as const;

interface Guest {
  readonly shell: Shell;
  /** folder of the host with the directories, which are named like their tags */
  readonly folder: string;
}

/** A file system in memory of 1 MiB, until the test ends. */
function mountSmall(path: string): Disposable {
  assert.equal(process.getuid?.(), 0, 'this test needs root: it mounts file systems');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'nephos-test', path]);
  return { [Symbol.dispose]: () => void execFileSync('umount', ['--lazy', path]) };
}

test('a directory that the host changes while a guest has it mounted', async (t) => {
  await using vmm = await startVmm();
  const { folder } = vmm;
  for (const tag of TAGS) mkdirSync(join(folder, tag));
  using _fixed = mountSmall(join(folder, 'fixed'));
  using _full = mountSmall(join(folder, 'full'));
  for (const tag of TAGS) writeFileSync(join(folder, tag, 'file'), `of ${tag}`);
  const fs = TAGS.map((tag) => ({ tag, directory: join(folder, tag), cache: 'never' }));
  using shell = await boot(vmm, { fs });
  for (const tag of TAGS) await shell.run(`mkdir /${tag}; mount -t virtiofs ${tag} /${tag}`);
  const guest: Guest = { shell, folder };
  await t.test('removed: the guest finds nothing, and can end its work', () => removed(guest));
  await t.test('replaced: the guest keeps the former one', () => replaced(guest));
  await t.test('read-only: EROFS until it is writable again', () => readOnly(guest));
  await t.test('full: ENOSPC, and a later write works', () => full(guest));
  await t.test('files and directories in use change or disappear', () => changed(guest));
  await t.test('each mount is unmounted', async () => {
    assert.equal(await shell.run(TAGS.map((tag) => `umount /${tag}`).join(' && ')), '');
  });
});

async function removed({ shell, folder }: Guest): Promise<void> {
  await shell.run('exec 5>>/removed/file; cd /removed');
  unlinkSync(join(folder, 'removed', 'file'));
  rmdirSync(join(folder, 'removed'));
  assert.equal(await shell.run('ls /removed'), '');
  assert.match(await shell.run('cat /removed/file 2>&1'), /No such file or directory/);
  // the shell's words for ENOENT
  assert.match(await shell.run('echo x 2>&1 > /removed/new'), /nonexistent directory/);
  assert.match(await shell.run('mkdir /removed/new 2>&1'), /No such file or directory/);
  // an open file stays usable
  assert.equal(await shell.run('echo x >&5; exec 5>&-; cd /; pwd'), '/');
}

async function replaced({ shell, folder }: Guest): Promise<void> {
  const [path, former] = [join(folder, 'replaced'), join(folder, 'former')];
  await shell.run('exec 5</replaced/file');
  renameSync(path, former);
  symlinkSync('/etc', path);
  assert.equal(await shell.run('cat <&5; exec 5<&-; ls /replaced'), 'of replacedfile');
  rmSync(path);
  mkdirSync(path);
  await shell.run('echo x > /replaced/new');
  assert.deepEqual(readdirSync(path), []);
  assert.equal(readFileSync(join(former, 'new'), 'utf8'), 'x\n');
}

async function readOnly({ shell, folder }: Guest): Promise<void> {
  const remount = (how: string) => execFileSync('mount', ['-o', `remount,${how}`, join(folder, 'fixed')]);
  remount('ro');
  for (const command of [
    'echo x > /fixed/new',
    'rm /fixed/file',
    'chmod 600 /fixed/file',
    'mkdir /fixed/d',
  ]) {
    assert.match(await shell.run(`{ ${command}; } 2>&1`), /Read-only file system/, command);
  }
  assert.equal(await shell.run('cat /fixed/file'), 'of fixed');
  remount('rw');
  assert.equal(await shell.run('echo x > /fixed/new; cat /fixed/new'), 'x');
}

async function full({ shell, folder }: Guest): Promise<void> {
  assert.match(await shell.run('cat /dev/zero 2>&1 > /full/large'), /No space left on device/);
  assert.match(
    await shell.run('dd if=/dev/zero of=/full/more bs=9000 count=1 2>&1'),
    /No space left on device/,
  );
  rmSync(join(folder, 'full', 'large'));
  assert.equal(await shell.run('echo later > /full/more; sync; cat /full/more'), 'later');
  assert.equal(readFileSync(join(folder, 'full', 'more'), 'utf8'), 'later\n');
}

async function changed({ shell, folder }: Guest): Promise<void> {
  const at = (name: string): string => join(folder, 'changed', name);
  await shell.run('mkdir -p /changed/a/b; echo x > /changed/a/b/c; cd /changed/a/b');
  // a directory that processes of the guest are in
  renameSync(at('a'), at('z'));
  assert.equal(await shell.run('cat c; cat /changed/z/b/c'), 'x\nx');
  rmSync(at('z'), { recursive: true });
  assert.match(
    await shell.run('ls c 2>&1; echo y 2>&1 > d'),
    /No such file or directory[^]*nonexistent directory/,
  );
  // a file that becomes a directory, and a directory that becomes a link out of the share
  rmSync(at('file'));
  mkdirSync(at('file'));
  assert.match(await shell.run('cd /; cat /changed/file 2>&1'), /Is a directory/);
  rmdirSync(at('file'));
  symlinkSync(folder, at('file'));
  assert.match(await shell.run('ls /changed/file/ 2>&1'), /No such file or directory/);
  // a file that is shorter than the guest knew
  writeFileSync(at('long'), 'x'.repeat(100_000));
  await shell.run('exec 5</changed/long; head -c 5 <&5');
  truncateSync(at('long'), 10);
  assert.equal(await shell.run('cat <&5 | wc -c; exec 5<&-'), '5');
}

test('a directory without rights for the user of the VMM is named', async () => {
  assert.equal(process.getuid?.(), 0, 'this test needs root: it starts a VMM of another user');
  const folder = makeFolder();
  try {
    const directory = join(folder, 'closed, "é"');
    mkdirSync(directory);
    chownSync(folder, USER, USER);
    chmodSync(directory, 0o700);
    const id = String(USER);
    // the user can read this repository, in a folder of root perhaps
    const reading = '+dac_read_search';
    const ids = ['--reuid', id, '--regid', id, '--clear-groups'];
    await using vmm = await startVmm({
      socket: join(folder, 'api.sock'),
      through: ['setpriv', ...ids, '--inh-caps', reading, '--ambient-caps', reading, '--'],
    });
    const fs = [{ tag: 'src', directory }];
    assertStatus(await vmm.put('vm.create', guestConfig({ fs })), 204);
    assertRefused(await vmm.put('vm.boot'), 500, `fs _fs0: directory ${directory}: permission denied`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
