import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { copyFile, chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DiskImage } from '../../images/image.ts';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import type { VmPaths } from '../vm-directory/paths.ts';
import { FORMATS } from './qcow2-overlay.ts';
import { DISK_SNAPSHOT_FILES } from './restore-disk.ts';

const run = promisify(execFile);

/** Time limit of qemu-img, in milliseconds. */
const QEMU_IMG_MS = 120_000;

/**
 * Copies the overlay and the key of a VM beside its snapshot, for a clone; without the data where the file system can share it. The VM must
 * be paused. The backing files of the overlay are those of the VM until {@link rebaseOnImage}.
 * @throws RunError that names the file
 */
export async function copyDiskFiles(paths: Pick<VmPaths, 'disk' | 'key'>, snapshot: string): Promise<void> {
  for (const [from, name] of [
    [paths.disk, DISK_SNAPSHOT_FILES.disk],
    [paths.key, DISK_SNAPSHOT_FILES.key],
  ] as const) {
    const to = join(snapshot, name);
    try {
      await copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
      await chmod(to, 0o600);
    } catch (error) {
      await rm(to, { force: true });
      throw new RunError('start', `${to}: cannot be written: ${reasonOf(error)}`, { cause: error });
    }
  }
}

/**
 * Makes an image the only backing file of an overlay: it gets the data of the overlays between both, which belong to another VM. An overlay
 * on the image is left alone: clones of the same VM may have it open.
 * @throws RunError that names the overlay
 */
export async function rebaseOnImage(overlay: string, { path, format }: DiskImage): Promise<void> {
  const backing = FORMATS[format];
  if (await isBackedBy(overlay, { path, backing })) return;
  const words = ['rebase', '-q', '-f', 'qcow2', '-b', path, '-F', backing, overlay];
  try {
    await run('qemu-img', words, { timeout: QEMU_IMG_MS });
  } catch (error) {
    throw new RunError('start', `${overlay}: qemu-img cannot rebase it: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** Returns false also for a file that cannot be read: the following command reports it. */
async function isBackedBy(
  overlay: string,
  { path, backing }: { readonly path: string; readonly backing: string },
): Promise<boolean> {
  try {
    const words = ['info', '-U', '--output=json', '-f', 'qcow2', overlay];
    const { stdout } = await run('qemu-img', words, { timeout: QEMU_IMG_MS });
    const info: unknown = JSON.parse(stdout);
    const members = new Map<string, unknown>(Object.entries(info ?? {}));
    return members.get('backing-filename') === path && members.get('backing-filename-format') === backing;
  } catch {
    return false;
  }
}
