import { constants } from 'node:fs';
import { copyFile, link, rm } from 'node:fs/promises';
import { inspectDiskImage } from '../../host/disk/disk-image.ts';
import type { DiskImage } from '../../images/image.ts';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import type { RunRequest } from '../run-request.ts';
import type { VmPaths } from '../vm-directory/paths.ts';
import type { OwnedVm } from '../vm-directory/vm-directories.ts';
import { writeNewFile } from '../vm-directory/new-file.ts';
import { cloudInitSeed } from './cloud-init.ts';
import type { DiskGuest } from './guest-identity.ts';
import { generateSshKeyPair } from './key-pair.ts';
import { describeGuest, type DiskFiles } from './plan-disk.ts';
import { qcow2Overlay } from './qcow2-overlay.ts';
import type { SshServerKeys } from './ssh-server.ts';

/** A VM directory with the files of a disk image's VM. */
export interface PreparedDisk {
  readonly guest: DiskGuest;
  /** Private key of its users, in OpenSSH's format */
  readonly privateKey: string;
}

/** A disk image whose layers were read. */
export interface InspectedImage extends DiskImage {
  /** Size of the disk, in `bytes` */
  readonly bytes: number;
  /** Paths of its backing files */
  readonly backing: readonly string[];
}

/** Reads the headers of an image. Its own backing files must be in its folder: another's image must not read this host's files. @throws RunError that names it */
export async function inspectImage(image: DiskImage): Promise<InspectedImage> {
  try {
    const { bytes, layers } = await inspectDiskImage({
      path: image.path,
      format: image.format,
      readonly: true,
      direct: false,
      anyBackingFile: false,
      ioUring: false,
      rawImages: new Set(),
    });
    return { ...image, bytes, backing: layers.slice(1).map(({ path }) => path) };
  } catch (error) {
    throw new RunError('invalid', `image ${image.name}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Keys of a VM, and the private key of its users. */
interface NewKeys {
  readonly keys: SshServerKeys;
  readonly privateKey: string;
}

/** Generates the keys of a VM. */
export async function generateKeys(name: string): Promise<NewKeys> {
  const [user, host] = await Promise.all([generateSshKeyPair(`nephos ${name}`), generateSshKeyPair(name)]);
  return {
    keys: { authorizedKey: user.publicKey, hostKey: host.privateKey },
    privateKey: user.privateKey,
  };
}

/**
 * Writes the files of a VM: the overlay, the seed disk and the key. With `base`, the overlay's backing file is a link to it, so that the VM
 * outlives the removal of the base; else it is the image.
 * @throws RunError that names the file
 */
export async function prepareDisk(
  request: RunRequest,
  image: InspectedImage,
  { paths, record }: OwnedVm,
  base?: string,
): Promise<PreparedDisk> {
  const { keys, privateKey } = await generateKeys(record.name);
  const guest = describeGuest(request, record, keys);
  if (base !== undefined) await linkFile(base, paths.base);
  const backing = base === undefined ? image : ({ path: paths.base, format: 'Qcow2' } as const);
  await Promise.all([
    writeDiskFiles(paths, overlayOf(image, backing), guest),
    writeNewFile(paths.key, privateKey),
  ]);
  return { guest, privateKey };
}

/** Removes the files of {@link prepareDisk}, for another start. */
export async function discardDisk({ disk, seed, key, base, variables }: VmPaths): Promise<void> {
  await Promise.all([disk, seed, key, base, variables].map((path) => rm(path, { force: true })));
}

/** Writes a disk and a seed disk. */
export async function writeDiskFiles(
  { disk, seed }: Pick<DiskFiles, 'disk' | 'seed'>,
  overlay: Buffer,
  guest: DiskGuest,
): Promise<void> {
  await Promise.all([writeNewFile(disk, overlay), writeNewFile(seed, paddedSeed(guest))]);
}

/** Returns an empty overlay. @throws RunError for a backing file that the format does not have */
export function overlayOf(image: InspectedImage, backing: Pick<DiskImage, 'path' | 'format'>): Buffer {
  try {
    return qcow2Overlay(image.bytes, backing);
  } catch (error) {
    throw new RunError('invalid', `image ${image.name}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Size of a seed disk, in bytes: the same in all VMs, because a restored guest keeps the size of its disks. The largest has 140 KiB. */
const SEED_BYTES = 256 * 1024;

function paddedSeed(guest: DiskGuest): Buffer {
  const seed = cloudInitSeed(guest);
  return Buffer.concat([seed, Buffer.alloc(Math.max(0, SEED_BYTES - seed.length))]);
}

/** Links a file; copies it where the file system has no links, or is another one. @throws RunError that names it */
async function linkFile(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP'].includes(codeOf(error) ?? '')) throw failed(to, error);
    await copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL).catch((cause: unknown) => {
      throw failed(to, cause);
    });
  }
}

function failed(path: string, cause: unknown): RunError {
  return new RunError('start', `${path}: cannot be written: ${reasonOf(cause)}`, { cause });
}
