import { writeFile } from 'node:fs/promises';
import { inspectDiskImage } from '../../host/disk/disk-image.ts';
import type { DiskImage } from '../../images/image.ts';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import type { RunRequest } from '../run-request.ts';
import type { OwnedVm } from '../vm-directory/vm-directories.ts';
import { cloudInitSeed } from './cloud-init.ts';
import type { DiskGuest } from './guest-identity.ts';
import { generateSshKeyPair } from './key-pair.ts';
import { describeGuest } from './plan-disk.ts';
import { qcow2Overlay } from './qcow2-overlay.ts';

/** A VM directory with the files of a disk image's VM. */
export interface PreparedDisk {
  readonly guest: DiskGuest;
  /** Private key of its users, in OpenSSH's format */
  readonly privateKey: string;
}

/** Writes the files of a VM: the overlay, the seed disk and the key. @throws RunError that names the image */
export async function prepareDisk(
  request: RunRequest,
  image: DiskImage,
  { paths, record }: OwnedVm,
): Promise<PreparedDisk> {
  const overlay = await overlayOf(image);
  const [user, host] = await Promise.all([
    generateSshKeyPair(`nephos ${record.name}`),
    generateSshKeyPair(record.name),
  ]);
  const keys = { authorizedKey: user.publicKey, hostKey: host.privateKey };
  const guest = describeGuest(request, record, keys);
  await Promise.all([
    writeFile(paths.disk, overlay, { mode: 0o600, flag: 'wx' }),
    writeFile(paths.seed, cloudInitSeed(guest), { mode: 0o600, flag: 'wx' }),
    writeFile(paths.key, user.privateKey, { mode: 0o600, flag: 'wx' }),
  ]);
  return { guest, privateKey: user.privateKey };
}

/** Returns an empty overlay of an image. The image's own backing files must be in its folder: another's image must not read this host's files. */
async function overlayOf(image: DiskImage): Promise<Buffer> {
  try {
    const { bytes } = await inspectDiskImage({
      path: image.path,
      format: image.format,
      readonly: true,
      direct: false,
      anyBackingFile: false,
      ioUring: false,
      rawImages: new Set(),
    });
    return qcow2Overlay(bytes, image);
  } catch (error) {
    throw new RunError('invalid', `image ${image.name}: ${reasonOf(error)}`, { cause: error });
  }
}
