import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import { VM_FILES, type VmRecord } from '../record.ts';
import { isLocked, lockPath, type FileLock } from '../../native/file-lock.ts';
import { checkName, randomName } from './names.ts';
import { newVmPaths, vmPaths, vmsDirectory, type VmPaths } from './paths.ts';
import { checkPrivateDirectory, isPrivateDirectory, makePrivateDirectory } from './private-directory.ts';
import { readRecord, writeRecord } from './record-file.ts';

/*
 * VM directories: `XDG_STATE_HOME/nephos/vms/<name>/`, mode 0700, of this user.
 *
 *   vm-directories.ts   creates, reads, lists and removes them
 *   vm-state.ts         state of a VM
 *   record-file.ts      the record, replaced atomically
 *   names.ts            names; paths.ts: paths, short ones for sockets; private-directory.ts: owner and mode
 *
 * A new directory is made complete under a hidden name, locked by its owner, and renamed to its name. A removal renames it to a hidden
 * name first. So a directory with a name always has a record and a lock. `.lock` is held while a name begins or ceases to exist.
 */

/** Prefixes of directories that are being made or removed. */
const [NEW, REMOVED] = ['.new-', '.removed-'];

/** Time after which a hidden directory without lock is removed, in milliseconds. */
const LEFT_OVER_MS = 60_000;

/** Longest wait for the lock of all names, in milliseconds; each process holds it for less than a millisecond. */
const NAMES_LOCK_MS = 10_000;

/** Longest wait for the lock of one VM in milliseconds: probes hold it for microseconds. */
const PROBE_MS = 200;

/** Number of random names that are tried. */
const NAME_TRIES = 20;

/** A VM directory as another process sees it. */
export interface VmEntry {
  readonly record: VmRecord;
  readonly paths: VmPaths;
  /** its owner process runs */
  readonly isOwned: boolean;
}

/** A VM directory of this process, which is its owner: it holds the lock until it disposes of this object, or exits. */
export interface OwnedVm extends Disposable {
  readonly paths: VmPaths;
  readonly record: VmRecord;
  /** Replaces members of the record. */
  update(change: Partial<VmRecord>): void;
  /** Removes the directory with its content, and releases the lock. */
  remove(): Promise<void>;
}

/** Members of a record that its creator chooses. */
export type NewVm = Pick<VmRecord, 'request' | 'access'> &
  Partial<Pick<VmRecord, 'imageId' | 'ports' | 'isStandBy'>>;

/** Makes the directory of a VM, locked by this process. @throws RunError where the name is taken or the directory cannot be made */
export async function createVm(vm: NewVm, vms = vmsDirectory()): Promise<OwnedVm> {
  if (vm.request.name !== undefined) checkName(vm.request.name);
  makePrivateDirectory(vms);
  await removeLeftOvers(vms);
  const id = randomBytes(6).toString('hex');
  const hidden = join(vms, `${NEW}${id}`);
  mkdirSync(hidden, { mode: 0o700 });
  try {
    const lock = await lockPath(join(hidden, VM_FILES.lock), { timeoutMs: 0 });
    if (lock === undefined) throw new RunError('start', `${hidden}: another process locked it`);
    return await nameDirectory(hidden, lock, { ...vm, id });
  } catch (error) {
    rmSync(hidden, { recursive: true, force: true });
    throw error;
  }
}

/** Gives a hidden directory its name. */
async function nameDirectory(hidden: string, lock: FileLock, vm: NewVm & { id: string }): Promise<OwnedVm> {
  const vms = dirname(hidden);
  using _names = await lockNames(vms);
  const wanted = vm.request.name;
  for (let i = 0; i < NAME_TRIES; i++) {
    const name = wanted ?? randomName();
    const directory = join(vms, name);
    if (lstatSync(directory, { throwIfNoEntry: false }) !== undefined) {
      if (wanted === undefined) continue;
      throw new RunError(
        'name-taken',
        `there is a VM with the name ${name}: choose another, or run "nephos rm ${name}"`,
      );
    }
    const paths = newVmPaths(directory);
    const record = newRecord(vm, name);
    writeRecord(join(hidden, VM_FILES.record), record);
    makeSocketDirectory(hidden, paths);
    renameSync(hidden, directory);
    return ownedVm(paths, record, lock);
  }
  throw new RunError('name-taken', 'no free name was found: give one with --name');
}

function newRecord(
  { request, access, ports = [], imageId, isStandBy, id }: NewVm & { id: string },
  name: string,
): VmRecord {
  return {
    version: 1,
    name,
    id,
    request,
    ...(imageId !== undefined && { imageId }),
    ...(isStandBy !== undefined && { isStandBy }),
    created: new Date().toISOString(),
    ownerPid: process.pid,
    ports,
    access,
  };
}

/** Makes the short directory of the sockets where one is necessary, and links it. */
function makeSocketDirectory(hidden: string, { directory, sockets }: VmPaths): void {
  if (sockets === directory) return;
  makePrivateDirectory(dirname(sockets));
  // left by a VM of the same path that was not removed by Nephos
  if (isPrivateDirectory(sockets)) rmSync(sockets, { recursive: true, force: true });
  mkdirSync(sockets, { mode: 0o700 });
  symlinkSync(sockets, join(hidden, VM_FILES.sockets));
}

function ownedVm(paths: VmPaths, created: VmRecord, lock: FileLock): OwnedVm {
  let record = created;
  return {
    paths,
    get record() {
      return record;
    },
    update: (change) => {
      record = { ...record, ...change };
      writeRecord(paths.record, record);
    },
    remove: async () => {
      try {
        await removeDirectory(paths, lock);
      } finally {
        lock[Symbol.dispose]();
      }
    },
    [Symbol.dispose]: () => lock[Symbol.dispose](),
  };
}

/** Reads the entry of a VM. @throws RunError where there is none */
export async function readVm(name: string, vms = vmsDirectory()): Promise<VmEntry> {
  checkName(name);
  const entry = await readEntry(join(vms, name));
  if (entry === undefined) throw notFound(name);
  return entry;
}

/** Finds a VM by its name, its id, or the start of its id that no other VM has. @throws RunError */
export async function findVm(text: string, vms = vmsDirectory()): Promise<VmEntry> {
  checkName(text);
  const byName = await readEntry(join(vms, text));
  if (byName !== undefined) return byName;
  const found = /^[0-9a-f]{2,12}$/.test(text)
    ? (await listVms(vms)).filter(({ record }) => record.id.startsWith(text))
    : [];
  if (found.length > 1)
    throw new RunError(
      'not-found',
      `${text} is the start of ${found.length} ids: give more of it, or a name`,
    );
  const [entry] = found;
  if (entry === undefined) throw notFound(text);
  return entry;
}

function notFound(name: string): RunError {
  return new RunError('not-found', `there is no VM with the name ${name}: "nephos ps -a" lists all`);
}

/** Lists all VMs, the newest first. A directory that is no VM's is left out. */
export async function listVms(vms = vmsDirectory()): Promise<VmEntry[]> {
  if (lstatSync(vms, { throwIfNoEntry: false }) === undefined) return [];
  checkPrivateDirectory(vms);
  const entries: VmEntry[] = [];
  for (const name of readdirSync(vms)) {
    if (name.startsWith('.')) continue;
    // one unreadable directory does not hide the others
    const entry = await readEntry(join(vms, name)).catch(() => undefined);
    if (entry !== undefined) entries.push(entry);
  }
  return entries.toSorted((a, b) => (a.record.created < b.record.created ? 1 : -1));
}

async function readEntry(directory: string): Promise<VmEntry | undefined> {
  if (lstatSync(directory, { throwIfNoEntry: false }) === undefined) return undefined;
  checkPrivateDirectory(directory);
  const paths = vmPaths(directory);
  // the lock first: an owner that exits between both has written its record
  const isOwned = await isLocked(paths.lock);
  const record = readRecord(paths.record);
  return record === undefined ? undefined : { record, paths, isOwned };
}

/** Removes the directory of a VM whose owner process has exited. @throws RunError while it runs */
export async function removeVm(name: string, vms = vmsDirectory()): Promise<void> {
  const { paths } = await readVm(name, vms);
  using lock = await lockPath(paths.lock, { timeoutMs: PROBE_MS });
  if (lock === undefined)
    throw new RunError(
      'running',
      `${name} is running: run "nephos stop ${name}" first, or "nephos rm --force ${name}"`,
    );
  await removeDirectory(paths, lock);
}

/** Removes a directory that this process has locked. */
async function removeDirectory(paths: VmPaths, lock: FileLock): Promise<void> {
  const { directory } = paths;
  const hidden = join(dirname(directory), `${REMOVED}${randomBytes(6).toString('hex')}`);
  {
    using _names = await lockNames(dirname(directory));
    // another process has removed it, and a new VM may have its name
    if (!lock.isAt(paths.lock)) throw notFound(basename(directory));
    renameSync(directory, hidden);
  }
  if (paths.sockets !== directory && isPrivateDirectory(paths.sockets))
    await rm(paths.sockets, { recursive: true, force: true });
  await rm(hidden, { recursive: true, force: true });
}

async function lockNames(vms: string): Promise<Disposable> {
  const lock = await lockPath(join(vms, '.lock'), { timeoutMs: NAMES_LOCK_MS });
  if (lock !== undefined) return lock;
  throw new RunError(
    'start',
    `${join(vms, '.lock')}: another process has held the lock for ${NAMES_LOCK_MS} ms`,
  );
}

/** Removes hidden directories of processes that were killed, with their sockets. Young ones stay: they may be in use. */
export async function removeLeftOvers(vms = vmsDirectory()): Promise<void> {
  if (lstatSync(vms, { throwIfNoEntry: false }) === undefined) return;
  for (const name of readdirSync(vms)) {
    if (![NEW, REMOVED].some((prefix) => name.startsWith(prefix))) continue;
    const directory = join(vms, name);
    const found = lstatSync(directory, { throwIfNoEntry: false });
    if (found === undefined || Date.now() - found.mtimeMs < LEFT_OVER_MS) continue;
    if (await isLocked(join(directory, VM_FILES.lock))) continue;
    const { sockets } = vmPaths(directory);
    if (sockets !== directory && isPrivateDirectory(sockets))
      await rm(sockets, { recursive: true, force: true });
    await rm(directory, { recursive: true, force: true }).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOENT')
        throw new RunError('unsafe', `${directory}: cannot be removed: ${reasonOf(error)}`, { cause: error });
    });
  }
}
