import { constants } from 'node:fs';
import { basename } from 'node:path';
import type { Stats } from 'node:fs';
import { SECTOR_BYTES } from '../host/disk/image-reader.ts';
import { detectDiskImage, inspectDiskImage } from '../host/disk/disk-image.ts';
import { KERNEL_HEAD_BYTES, kernelKind, packingOf } from '../host/kernel/bzimage.ts';
import { codeOf, reasonOf } from '../util/errno.ts';
import { openFile } from '../util/open-file.ts';
import { checkAccess, listFolder, statPath } from '../util/path-calls.ts';
import { ImageError } from './image-error.ts';
import type { DirectoryImage, DiskImage } from './image.ts';

/** Smallest raw disk with a file system, in `bytes`. A smaller file is something else. */
const DISK_MIN_BYTES = 65_536;

/**
 * Opens a disk image or a directory with a root file system. `path` is absolute, `shown` the text of the user.
 *
 * The format of a disk image is detected. An image that needs another file is refused: a downloaded one could name any file of
 * this host.
 * @throws ImageError that explains what the path is instead
 */
export async function openLocalImage(path: string, shown: string): Promise<DiskImage | DirectoryImage> {
  try {
    const status = await statusOf(path, shown);
    if (status.isDirectory()) return await openDirectory(path, shown);
    return await openDisk(path, shown, status);
  } catch (cause) {
    if (cause instanceof ImageError) throw cause;
    throw new ImageError('invalid', shown, withoutPath(path, reasonOf(cause)), { cause });
  }
}

async function statusOf(path: string, shown: string): Promise<Stats> {
  try {
    return await statPath(path);
  } catch (cause) {
    if (!['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(codeOf(cause) ?? '')) throw cause;
    const name = basename(shown);
    const remedy = /^[a-z0-9][a-z0-9._-]*(?::[\w.-]+)?$/.test(name)
      ? `; write ${name} for the image of a registry`
      : '';
    throw new ImageError('not-found', shown, `${path}: ${reasonOf(cause)}${remedy}`, { cause });
  }
}

async function openDirectory(path: string, shown: string): Promise<DirectoryImage> {
  const names = await listFolder(path);
  if (names.includes('oci-layout'))
    throw new ImageError('bad-name', shown, `the directory is an OCI layout; write oci:${shown}`);
  if (names.length === 0)
    throw new ImageError('invalid', shown, 'the directory is empty; a root file system is expected');
  await checkAccess(path, constants.R_OK | constants.X_OK);
  return { kind: 'directory', name: shown, path };
}

async function openDisk(path: string, shown: string, status: Stats): Promise<DiskImage> {
  const kind = await otherKind(path, shown, status);
  if (kind !== undefined) throw new ImageError('bad-name', shown, kind);
  const format = await detectDiskImage(path);
  if (format !== 'Raw' && format !== 'Qcow2' && format !== 'Vhdx' && format !== 'FixedVhd')
    throw new ImageError(
      'invalid',
      shown,
      `it is a ${format} image; convert it with qemu-img convert -O qcow2`,
    );
  if (format === 'Raw' && status.isFile() && status.size < DISK_MIN_BYTES)
    throw new ImageError('invalid', shown, `it is no disk image: it has ${status.size} bytes`);
  const { layers } = await inspectDiskImage({
    path,
    readonly: true,
    direct: false,
    format,
    anyBackingFile: false,
    ioUring: false,
    rawImages: new Set(),
  });
  if (layers.length > 1) {
    const remedy = 'merge them into one file with qemu-img convert -O qcow2';
    throw new ImageError('invalid', shown, `it has the backing file ${layers[1]?.path}; ${remedy}`);
  }
  return { kind: 'disk', name: shown, path, format };
}

/** Explains a file that is no disk image, with the right way to use it; undefined for anything that may be one. */
async function otherKind(path: string, shown: string, status: Stats): Promise<string | undefined> {
  if (status.isBlockDevice()) return undefined;
  if (!status.isFile()) return 'it is neither a file, a block device nor a directory';
  await using file = await openFile(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(KERNEL_HEAD_BYTES), 0, KERNEL_HEAD_BYTES, 0);
  const head = buffer.subarray(0, bytesRead);
  if (head.toString('latin1', 257, 262) === 'ustar')
    return `it is an archive; write docker-archive:${shown} or oci-archive:${shown} for a saved image`;
  if (head.toString('latin1', 0, 6) === '070701') return 'it is an initramfs; write --initramfs and --kernel';
  if (kernelKind(head) !== 'firmware') return `it is a kernel; write --kernel ${shown}`;
  const packing = packingOf(head);
  if (packing !== undefined && !hasBootSignature(head))
    return `it is compressed with ${packing}; a disk image must be decompressed, a saved image is docker-archive:${shown}`;
  return undefined;
}

function hasBootSignature(head: Buffer): boolean {
  return head.length >= SECTOR_BYTES && head.readUInt16LE(SECTOR_BYTES - 2) === 0xaa55;
}

/** Messages of host/ begin with the path, which an ImageError has already. */
function withoutPath(path: string, message: string): string {
  return message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
}
