/** pjdfstest, a test of POSIX file systems (crate `pjdfstest`), in a guest of the demo kind. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cargoTools } from './document-tools.ts';
import type { Shell } from './shell.ts';

const CONFIG = `
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
# seconds, more than the granularity of timestamps
naptime = 0.02
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
`;

/** Programs that pjdfstest calls, which busybox has. */
const APPLETS = ['sh', 'sleep', 'which', 'mount', 'umount'] as const;

/** Limit of a run, under emulation on a busy machine. */
const TIMEOUT_MS = 20 * 60_000;

/** Makes a root file system with pjdfstest and all that it needs; the crate is built the first time, which needs cargo. */
export async function makePjdfstestRoot(root: string): Promise<void> {
  const program = join(await cargoTools('pjdfstest@0.2.2'), 'pjdfstest');
  for (const folder of ['bin', 'etc', 'dev', 'proc', 'media', 'srv'])
    mkdirSync(join(root, folder), { recursive: true });
  copyFileSync(program, join(root, 'bin/pjdfstest'));
  for (const [library] of execFileSync('ldd', [program], { encoding: 'utf8' }).matchAll(/\/\S+/g)) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(library, join(root, library));
  }
  const busybox = execFileSync('which', ['busybox'], { encoding: 'utf8' }).trim();
  copyFileSync(busybox, join(root, 'bin/busybox'));
  for (const name of APPLETS) symlinkSync('busybox', join(root, 'bin', name));
  const users = [
    ['root', 0, 'root'],
    ['daemon', 1, 'daemon'],
    ['nobody', 65534, 'nogroup'],
  ] as const;
  writeFileSync(
    join(root, 'etc/passwd'),
    users.map(([name, id]) => `${name}:x:${id}:${id}::/:/bin/sh\n`).join(''),
  );
  writeFileSync(join(root, 'etc/group'), users.map(([, id, group]) => `${group}:x:${id}:\n`).join(''));
  writeFileSync(join(root, 'etc/pjdfstest.toml'), CONFIG);
}

/** Result of a run. */
export interface PjdfstestResult {
  /** names of the failed tests with their reasons */
  readonly failed: readonly string[];
  readonly passed: number;
}

/** Mounts a root file system of {@link makePjdfstestRoot} by its tag, and runs all tests in a directory of it. */
export async function runPjdfstest(shell: Shell, tag: string): Promise<PjdfstestResult> {
  const root = `/mnt/${tag}`;
  await shell.run(
    `mkdir -p ${root}; mount -t virtiofs ${tag} ${root}; mount -t tmpfs tmpfs ${root}/media; ` +
      `mount -t devtmpfs dev ${root}/dev; mount -t proc proc ${root}/proc`,
  );
  const program = 'PATH=/bin NO_COLOR=1 chroot . /bin/pjdfstest -c /etc/pjdfstest.toml -s /media -p /srv';
  const shown = await shell.run(`(cd ${root}; ${program} 2>&1)`, TIMEOUT_MS);
  const summary = /^Summary: (\d+) failed, \d+ skipped, (\d+) passed/m.exec(shown);
  assert.ok(summary !== null, shown.slice(-4000));
  // a reason is on the next line
  const failed = [...shown.matchAll(/^(\S+) +FAILED\n(?:\t(.*))?/gm)].map(
    ([, name, reason]) => `${name}: ${reason}`,
  );
  assert.equal(failed.length, Number(summary[1]), shown.slice(-4000));
  return { failed, passed: Number(summary[2]) };
}
