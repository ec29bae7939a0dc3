import { constants, type BigIntStats } from 'node:fs';
import { rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { tryLock } from '../native/file-lock.ts';
import { loadLibc } from '../native/libc.ts';
import { closeRemoved } from '../util/close-file.ts';
import { reasonOf } from '../util/errno.ts';
import { createLog } from '../util/log.ts';
import { beforeDeadline } from '../util/path-deadline.ts';
import { createUnnamedFile } from './unnamed-file.ts';

/*
 * Lock of a directory while files of a snapshot are written there: `snapshot.lock`, which its writer holds by flock(2), and removes at
 * the end. It lists the created files by inode and time of birth, each one before it gets its name. If the writer is killed, the kernel
 * releases the lock, and `remove-abandoned.ts` removes the listed files.
 *
 * The file is lines of JSON: LOCK_HEADER, then a record of each file.
 */

const log = createLog('snapshot');

/** Name of the lock. */
export const LOCK_FILE = 'snapshot.lock';

/** First line of a lock. */
export const LOCK_HEADER = '{"lock":"files of a snapshot are written"}';

/** Record of a created file. */
export interface LockRecord {
  readonly name: string;
  /** see {@link fileIdentity} */
  readonly file: string;
}

/** A locked directory. Disposal removes the lock. */
export interface LockedFolder extends AsyncDisposable {
  /** Creates a file, whose owner closes it. Rejects where the name exists. */
  readonly create: (name: string) => Promise<FileHandle>;
  /** Records a file that gets its name later. */
  readonly record: (name: string, file: FileHandle) => Promise<void>;
}

/** Returns a text that no other file of the same file system has, neither now nor after the file is removed. */
export function fileIdentity({ ino, birthtimeNs }: Pick<BigIntStats, 'ino' | 'birthtimeNs'>): string {
  return `${ino} ${birthtimeNs}`;
}

/** @throws Error if another program holds the lock: it has seen the file before its list */
function lockIfPossible(path: string, fd: number): void {
  let isHeld: boolean;
  try {
    isHeld = tryLock(fd);
  } catch {
    // a file system without locks: the list is of no use, as no program can know that the writer was killed
    return;
  }
  if (!isHeld) throw new Error(`${path}: is locked by another program`);
}

/** Locks a directory. Rejects with EEXIST while it is locked. */
export async function lockFolder(folder: string): Promise<LockedFolder> {
  await loadLibc();
  const path = join(folder, LOCK_FILE);
  const lock = await createUnnamedFile(folder, path);
  try {
    // only the user may write a list of files to remove
    await lock.file.chmod(constants.S_IRUSR | constants.S_IWUSR);
    lockIfPossible(path, lock.file.fd);
    await lock.file.appendFile(`${LOCK_HEADER}\n`);
    await lock.link();
  } catch (error) {
    await lock.discard();
    throw error;
  }
  const record = async (name: string, file: FileHandle): Promise<void> => {
    const line: LockRecord = { name, file: fileIdentity(await file.stat({ bigint: true })) };
    await lock.file.appendFile(`${JSON.stringify(line)}\n`);
  };
  const create = async (name: string): Promise<FileHandle> => {
    const made = await createUnnamedFile(folder, join(folder, name));
    try {
      await record(name, made.file);
      await made.link();
      return made.file;
    } catch (error) {
      await made.discard();
      throw error;
    }
  };
  return {
    create,
    record,
    [Symbol.asyncDispose]: async () => {
      await beforeDeadline(path, () => rm(path, { force: true })).catch((error: unknown) => {
        log.warn(`${path}: cannot be removed: ${reasonOf(error)}`);
      });
      await closeRemoved(lock.file);
    },
  };
}
