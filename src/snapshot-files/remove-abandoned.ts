import { constants } from 'node:fs';
import { lstat, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import * as v from 'valibot';
import { tryLock } from '../native/file-lock.ts';
import { loadLibc } from '../native/libc.ts';
import { closeInBackground } from '../util/background.ts';
import { codeOf, reasonOf } from '../util/errno.ts';
import { createLog } from '../util/log.ts';
import { lstatPath } from '../util/path-calls.ts';
import { beforeDeadline } from '../util/path-deadline.ts';
import { fileIdentity, LOCK_FILE, LOCK_HEADER } from './folder-lock.ts';
import { COMPOSED_FILES, SNAPSHOT_FILES, UNFINISHED } from './snapshot-folder.ts';

const log = createLog('snapshot');

/** Size of the largest lock that is read, in bytes. */
const LOCK_BYTES_MAX = 256 * 1024;

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDWR, S_IWGRP, S_IWOTH } = constants;

const LockRecord = v.object({ name: v.string(), file: v.string() });

/**
 * Removes the files that a killed program has left in the directory of a snapshot, and its lock. If it was killed while it replaced a
 * differential snapshot, and the manifest is the new one, the other files get their names instead.
 *
 * A file is removed only if it is the recorded one: by inode, time of birth and name. The lock must be free, and no other user may have
 * written it. So files of users, of running programs and of complete snapshots stay. Never rejects: a file that cannot be removed stays.
 */
export async function removeAbandoned(folder: string): Promise<void> {
  try {
    // most directories have none
    await lstatPath(join(folder, LOCK_FILE));
  } catch {
    return;
  }
  await removeOf(folder).catch((error: unknown) => {
    log.warn(`${join(folder, LOCK_FILE)}: files of a killed program stay: ${reasonOf(error)}`);
  });
}

async function removeOf(folder: string): Promise<void> {
  await loadLibc();
  // by its descriptor: no other directory can take its place
  await using directory = await openPath(folder, O_DIRECTORY);
  const within = `/proc/self/fd/${directory.fd}`;
  await using lock = await openPath(join(within, LOCK_FILE), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  await checkLock(lock);
  if (!tryLock(lock.fd)) return;
  const files = await recordedFiles(lock, within);
  if (files === undefined) return;
  for (const step of stepsFor(files, await identityAt(join(within, SNAPSHOT_FILES.manifest)))) {
    const path = join(within, step.name);
    const recorded = files.get(step.name);
    if (recorded === undefined || (await identityAt(path)) !== recorded) continue;
    await (step.to === undefined ? rm(path) : rename(path, join(within, step.to)));
    log.info(`${join(folder, step.name)}: was left by a killed program, and is ${step.to ?? 'removed'}`);
  }
  await rm(join(within, LOCK_FILE));
}

function openPath(path: string, flags: number): Promise<FileHandle> {
  return beforeDeadline(path, () => open(path, flags), { onLate: closeInBackground });
}

/** @throws Error if another user can have written the lock */
async function checkLock(lock: FileHandle): Promise<void> {
  const found = await lock.stat();
  const isPrivate = found.uid === process.geteuid?.() && (found.mode & (S_IWGRP | S_IWOTH)) === 0;
  if (!found.isFile() || !isPrivate) throw new Error('is no regular file that belongs to this user only');
  if (found.size > LOCK_BYTES_MAX) throw new Error(`is larger than ${LOCK_BYTES_MAX} bytes`);
}

/** Returns the recorded identities by name; undefined if the writer has removed the lock meanwhile. */
async function recordedFiles(lock: FileHandle, within: string): Promise<Map<string, string> | undefined> {
  const own = fileIdentity(await lock.stat({ bigint: true }));
  if ((await identityAt(join(within, LOCK_FILE))) !== own) return undefined;
  const [header, ...lines] = (await lock.readFile('utf8')).split('\n');
  if (header !== LOCK_HEADER) throw new Error('is not the lock of a snapshot');
  return new Map(lines.flatMap(parseRecord).map(({ name, file }) => [name, file]));
}

/** Parses a line; the last one may be incomplete. */
function parseRecord(line: string): v.InferOutput<typeof LockRecord>[] {
  try {
    const record = v.parse(LockRecord, JSON.parse(line));
    const isInside = basename(record.name) === record.name && !['', '.', '..'].includes(record.name);
    return isInside ? [record] : [];
  } catch {
    return [];
  }
}

/** A file to remove, or to rename. */
interface Step {
  readonly name: string;
  readonly to?: string;
}

/** Returns the steps to take with the recorded files. Pure. */
function stepsFor(files: ReadonlyMap<string, string>, manifest: string | undefined): Step[] {
  const composed = [
    { name: COMPOSED_FILES.memory, to: SNAPSHOT_FILES.memory },
    { name: COMPOSED_FILES.state, to: SNAPSHOT_FILES.state },
  ];
  // the last step of the writer: the snapshot is complete
  if (manifest !== undefined && manifest === files.get(UNFINISHED)) return composed;
  const inPlace = [UNFINISHED, COMPOSED_FILES.state, COMPOSED_FILES.memory].map((name) => ({ name }));
  // the manifest of another snapshot may name the other files
  return manifest === undefined ? [...files.keys()].map((name) => ({ name })) : inPlace;
}

/** Returns the identity of a regular file; undefined where there is none. */
async function identityAt(path: string): Promise<string | undefined> {
  try {
    const found = await beforeDeadline(path, () => lstat(path, { bigint: true }));
    return found.isFile() ? fileIdentity(found) : undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
