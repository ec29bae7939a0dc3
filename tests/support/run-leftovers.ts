import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { copyGuestTools } from './guest-tools-copy.ts';
import { makeHome, type TestHome } from './nephos.ts';
import { until } from './wait.ts';

/*
 * Folders of a user for runs, all below one: VM directories, runtime directory, temporary files and cache. After the runs nothing of a VM
 * may be left in them, and no process, mount or socket may have their path.
 */

/** Entries that stay: locks of a folder. */
const KEPT = new Set(['.lock']);

/** Prefixes of names in the cache of warm snapshots, and among VM directories, of what a killed process has left. */
const UNFINISHED = ['.part-', '.lock-', '.new-', '.removed-'];

/** Age of files that killed processes have left, in seconds, after which they are removed. */
const OLD_S = 7200;

/** Makes the folders. The cache has the guest tools of this host alone; they are built from packages of the network otherwise. */
export function makeCheckedHome(): TestHome {
  const home = makeHome();
  const cache = join(home.folder, 'cache');
  for (const name of ['cache', 'state', 'runtime', 'tmp'])
    mkdirSync(join(home.folder, name), { mode: 0o700 });
  copyGuestTools(cache);
  Object.assign(home.env, {
    NEPHOS_CACHE: cache,
    XDG_STATE_HOME: join(home.folder, 'state'),
    XDG_RUNTIME_DIR: join(home.folder, 'runtime'),
    TMPDIR: join(home.folder, 'tmp'),
  });
  return home;
}

/** Returns the names of the VM directories. */
export function vmNames({ folder }: TestHome): readonly string[] {
  return namesIn(join(folder, 'state', 'nephos', 'vms')).filter((name) => !name.startsWith('.'));
}

/** Returns the processes whose environment names a home: VMMs, QEMU, owner processes and pools. */
export function processesOf({ folder }: TestHome): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(folder);
    } catch {
      // it has exited, or belongs to another user
      return false;
    }
  });
}

/** Removes what a killed process has left unfinished, by `nephos prune`. Its age is set to what the removal asks for. */
export async function pruneUnfinished(home: TestHome): Promise<void> {
  const [vms, warm] = [join(home.folder, 'state', 'nephos', 'vms'), join(home.folder, 'cache', 'warm')];
  const paths = [vms, warm].flatMap((parent) =>
    namesIn(parent)
      .filter(isUnfinished)
      .map((name) => join(parent, name)),
  );
  if (paths.length === 0) return;
  const old = Date.now() / 1000 - OLD_S;
  for (const path of paths) utimesSync(path, old, old);
  assert.equal((await home.nephos('prune', '-f')).code, 0);
}

/** Fails if a process, mount, socket, file or directory of a VM is left. The cache keeps images and complete snapshots. */
export async function assertNothingLeft(home: TestHome): Promise<void> {
  await until('no process is left', () => processesOf(home).length === 0);
  const { folder } = home;
  for (const table of ['/proc/self/mountinfo', '/proc/net/unix'])
    assert.deepEqual(
      readFileSync(table, 'utf8')
        .split('\n')
        .filter((line) => line.includes(folder)),
      [],
    );
  assert.deepEqual(vmNames(home), []);
  const left = ['state', 'runtime', 'tmp'].flatMap((name) => filesBelow(join(folder, name)));
  assert.deepEqual(left, []);
  assert.deepEqual(namesIn(join(folder, 'cache', 'warm')).filter(isUnfinished), []);
}

function isUnfinished(name: string): boolean {
  return UNFINISHED.some((prefix) => name.startsWith(prefix));
}

/** Returns the paths of all files, sockets and links, and of unfinished directories. */
function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((one) => (!one.isDirectory() || isUnfinished(one.name)) && !KEPT.has(one.name))
    .map((one) => join(one.parentPath, one.name));
}

function namesIn(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}
