// Debian 13 whose root file system is a shared directory: boot, reboot, and programs of others in the guest. Needs root, cargo,
// and npm's registry on the host. With NEPHOS_TEST_FS=virtiofsd the directory is shared by virtiofsd, to compare the two.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAndBoot } from '../support/boot.ts';
import { copyDebian } from '../support/debian.ts';
import { cargoTools, npmTools, output } from '../support/document-tools.ts';
import { KERNEL } from '../support/guest.ts';
import {
  checkManyFiles,
  checkRandomAccess,
  checkRenames,
  checkSparseFile,
  shareOf,
} from '../support/shared-files.ts';
import { openShell, type Shell } from '../support/shell.ts';
import { ptyOf } from '../support/vm-info.ts';
import { REPO, startVmm } from '../support/vmm.ts';

const MINUTE_MS = 60_000;

/** Limits for a boot with systemd, and for one program, under emulation on a busy machine. */
const BOOT_MS = 15 * MINUTE_MS;
const PROGRAM_MS = 20 * MINUTE_MS;

/** Seconds of the rename storm. */
const STORM_SECONDS = 30;

const CONFIG = {
  kernel: { path: KERNEL },
  // systemd gives up a slow device, and a slow service, after 90 s otherwise
  cmdline: {
    args: 'console=ttyS0 root=src rootfstype=virtiofs rw systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900',
  },
  memory: { size: 2 ** 31, shared: true },
  serial: { mode: 'Pty' },
  console: { mode: 'Off' },
};

/** Runs commands in a directory of the guest as a shell script; fails where one of them does, with its output. */
async function runAll(shell: Shell, folder: string, ...commands: readonly string[]): Promise<string> {
  const shown = await shell.run(
    `(mkdir -p ${folder} && cd ${folder} && ${commands.join(' && ')}) 2>&1; printf "\\nstatus $?\\n"`,
    PROGRAM_MS,
  );
  assert.match(shown, /^status 0$/m, shown.slice(-4000));
  return shown.replace(/\n*status 0$/, '');
}

test('Debian 13 runs on a shared directory', async (t) => {
  await using vmm = await startVmm();
  const { folder } = vmm;
  const root = copyDebian(join(folder, 'root'));
  await using share = shareOf('src', root, folder);
  await addPrograms(root);
  await createAndBoot(vmm, { ...CONFIG, fs: [share.config] });
  using shell = openShell(await ptyOf(vmm));
  await shell.login(BOOT_MS);

  await t.test('systemd starts all units from it', async () => {
    assert.equal(await shell.run('findmnt -no FSTYPE,SOURCE /'), 'virtiofs src');
    assert.match(await shell.run('systemctl is-system-running --wait', BOOT_MS), /^(running|degraded)$/);
    assert.equal(await shell.run('systemctl --failed --no-legend --plain --no-pager'), '');
  });
  await t.test('files of the guest are there after its reboot, and its packages are whole', async () => {
    await runAll(
      shell,
      '/srv/kept',
      'dd if=/dev/urandom of=data bs=1M count=64 status=none',
      'mkdir a; ln -s ../data a/link; ln data hard; chown 12:34 hard; chmod 4751 hard; mkfifo fifo',
      'useradd -m tester; su tester -c "echo mine >~/file"',
    );
    const sums = await shell.run('sha256sum /srv/kept/data /home/tester/file');
    shell.type('systemctl reboot\r');
    await shell.login(BOOT_MS);
    assert.equal(await shell.run('sha256sum /srv/kept/data /home/tester/file', PROGRAM_MS), sums);
    assert.equal(
      await shell.run('stat -c "%F %a %u %g %h" /srv/kept/a/link /srv/kept/hard /srv/kept/fifo'),
      'symbolic link 777 0 0 1\nregular file 4751 12 34 2\nfifo 644 0 0 1',
    );
    assert.equal(await shell.run('su tester -c "cat ~/file; stat -c %U ~/file"'), 'mine\ntester');
    // files that the image leaves out are reported as missing
    assert.equal(await shell.run('dpkg --verify | grep -v ^missing', PROGRAM_MS), '');
    const [sum = ''] = sums.split(' ');
    const onHost = execFileSync('sha256sum', [join(root, 'srv/kept/data')], { encoding: 'utf8' });
    assert.equal(onHost.split(' ')[0], sum);
  });
  await t.test('fsx finds no wrong byte', async () => {
    for (const seed of [1, 2, 3])
      await runAll(shell, '/srv/fsx', `/opt/bin/fsx -q -N 3000 -S ${seed} file-${seed}`);
  });
  await t.test('git clones a repository and sees no change', async () => {
    await runAll(shell, '/srv/git', 'git -c safe.directory="*" clone -q /opt/repository.git work');
    assert.equal(
      await runAll(shell, '/srv/git/work', 'git fsck --no-progress --no-dangling', 'git status --porcelain'),
      '',
    );
  });
  await t.test('npm ci installs packages, and they run', async () => {
    await runAll(
      shell,
      '/srv/npm',
      'cp /opt/npm/package.json /opt/npm/package-lock.json .',
      'node /opt/npm-program/bin/npm-cli.js ci --offline --cache /opt/npm/cache --no-audit --no-fund --no-progress',
    );
    const shown = await runAll(shell, '/srv/npm', 'node -e "console.log(typeof require(\'koffi\').load)"');
    assert.equal(shown, 'function');
  });
  await t.test('a C program is built with make, and only what changed is built again', async () => {
    writeFileSync(join(root, 'srv/Makefile'), MAKEFILE);
    const made = await runAll(
      shell,
      '/srv/c',
      'cp ../Makefile .',
      'make -s sources',
      'make -j2 all',
      './program',
    );
    assert.match(made, /\n45$/);
    assert.match(await runAll(shell, '/srv/c', 'make all'), /Nothing to be done|up to date/);
    await runAll(shell, '/srv/c', 'sleep 0.1; touch f3.c');
    assert.equal((await runAll(shell, '/srv/c', 'make all')).match(/-c /g)?.length, 1);
  });
  await t.test('SQLite keeps its database whole, in both journal modes, with two writers', async () => {
    for (const mode of ['delete', 'wal']) {
      const shown = await runAll(
        shell,
        '/srv/sqlite',
        `sqlite3 ${mode}.db "PRAGMA journal_mode=${mode}; CREATE TABLE t(who TEXT, n INTEGER);"`,
        `for who in a b; do (for n in $(seq 30); do echo "INSERT INTO t VALUES('$who', $n);"; done) | sqlite3 -cmd ".timeout 60000" ${mode}.db & done; wait`,
        `sqlite3 ${mode}.db "PRAGMA integrity_check; SELECT count(*), sum(n) FROM t;"`,
      );
      assert.match(shown, /ok\n60\|930$/);
    }
  });

  mkdirSync(join(root, 'srv/files'));
  const shared = { shell, host: join(root, 'srv/files'), guest: '/srv/files' };
  await t.test('a directory of 100,000 files is listed whole', () => checkManyFiles(shared, 100_000));
  await t.test('a file of 4 GiB with holes takes no space', () => checkSparseFile(shared));
  await t.test('random reads, writes and truncations give the bytes that were written', () =>
    checkRandomAccess(shared, 20_000),
  );
  await t.test('files that host and guest rename at the same time are kept', () =>
    checkRenames(shared, STORM_SECONDS),
  );
});

/** Ten functions in files of their own, and a program that adds their values. */
const MAKEFILE = `
N = 0 1 2 3 4 5 6 7 8 9
OBJECTS = $(N:%=f%.o) main.o
all: program
program: $(OBJECTS)
	$(CC) -o $@ $^
%.o: %.c
	$(CC) -O1 -c $<
sources:
	for n in $(N); do echo "int f$$n(void) { return $$n; }" >f$$n.c; done
	(echo '#include <stdio.h>'; for n in $(N); do echo "int f$$n(void);"; done; \\
	echo 'int main(void) { printf("%d\\\\n", 0'; for n in $(N); do echo " + f$$n()"; done; echo '); return 0; }') >main.c
`;

/** Puts the programs of others into the root file system, with all that they would download. */
async function addPrograms(root: string): Promise<void> {
  const bin = join(root, 'opt/bin');
  mkdirSync(bin, { recursive: true });
  copyFileSync(join(await cargoTools('fsx@0.3.2'), 'fsx'), join(bin, 'fsx'));
  const npm = await npmTools('npm@10.9.4');
  cpSync(join(npm, '../npm'), join(root, 'opt/npm-program'), { recursive: true });
  const packages = join(root, 'opt/npm');
  mkdirSync(packages);
  for (const name of ['package.json', 'package-lock.json'])
    copyFileSync(join(REPO, name), join(packages, name));
  await output(
    ['npm', 'ci', '--no-audit', '--no-fund', '--ignore-scripts', '--cache', join(packages, 'cache')],
    {
      cwd: packages,
    },
  );
  execFileSync('rm', ['-rf', join(packages, 'node_modules')]);
  await output(['git', 'clone', '-q', '--bare', REPO, join(root, 'opt/repository.git')]);
  assert.ok(readFileSync(join(root, 'opt/repository.git/HEAD')).length > 0);
}
