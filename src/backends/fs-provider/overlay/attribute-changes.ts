import { constants } from 'node:fs';
import { chmod, lchown, lstat, open, type FileHandle } from 'node:fs/promises';
import type { FsAttributeChange } from '../provider.ts';
import { setTimes } from './host-calls.ts';

const O_PATH = 0o10_000_000;

/** Changes attributes of an entry of the upper layer, all but the size. Never follows a symbolic link. */
export async function changeAttributes(path: Buffer, change: FsAttributeChange): Promise<void> {
  const { mode, uid, gid, accessed, modified } = change;
  if (uid !== undefined || gid !== undefined) {
    const own = await lstat(path);
    const [newUid, newGid] = [uid ?? own.uid, gid ?? own.gid];
    if (newUid !== own.uid || newGid !== own.gid) await lchown(path, newUid, newGid);
  }
  // after the owner, whose change removes bits
  if (mode !== undefined) await changeMode(path, mode);
  if (accessed !== undefined || modified !== undefined)
    setTimes(path, {
      ...(accessed !== undefined && { accessed }),
      ...(modified !== undefined && { modified }),
    });
}

/** Changes attributes of an open file without a name, all but the size. */
export async function changeOpen(handle: FileHandle, change: FsAttributeChange): Promise<void> {
  const { mode, uid, gid, accessed, modified } = change;
  const own = await handle.stat();
  if (uid !== undefined || gid !== undefined) await handle.chown(uid ?? own.uid, gid ?? own.gid);
  if (mode !== undefined) await handle.chmod(mode);
  if (accessed === undefined && modified === undefined) return;
  const secondsOf = (time: bigint | undefined, stays: number): number =>
    time === undefined ? stays / 1000 : Number(time) / 1e9;
  await handle.utimes(secondsOf(accessed, own.atimeMs), secondsOf(modified, own.mtimeMs));
}

/** Opens the entry first: `chmod` follows symbolic links. */
async function changeMode(path: Buffer, mode: number): Promise<void> {
  const handle = await open(path, O_PATH | constants.O_NOFOLLOW);
  try {
    if (!(await handle.stat()).isSymbolicLink()) await chmod(`/proc/self/fd/${handle.fd}`, mode);
  } finally {
    await handle.close();
  }
}
