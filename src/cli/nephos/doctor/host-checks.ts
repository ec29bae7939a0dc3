import { accessSync, closeSync, constants, existsSync, openSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { cacheFolder } from '../../../host/files/cache-folder.ts';
import { chooseAccelerator } from '../../../host/system/accelerator.ts';
import { vmsDirectory } from '../../../run/vm-directory/paths.ts';
import { checkPrivateDirectory } from '../../../run/vm-directory/private-directory.ts';
import { reasonOf } from '../../../util/errno.ts';
import { showSize } from '../text.ts';
import { missing, ok, warning, type Check } from './check.ts';

/** Free space below which images do not fit, and below which Nephos cannot work, in bytes. */
const [SPACE_LOW, SPACE_LEAST] = [2 * 2 ** 30, 200 * 2 ** 20];

/** Checks the accelerator, and says why it is not KVM. */
export function checkAccelerator(env: NodeJS.ProcessEnv = process.env): Check {
  const subject = 'accelerator';
  try {
    const { name, reason } = chooseAccelerator(env);
    if (name !== 'tcg') return ok(subject, name);
    if (reason === undefined)
      return warning(subject, 'emulation, because NEPHOS_ACCEL is tcg', 'unset NEPHOS_ACCEL');
    return warning(subject, `emulation, which is slower: ${reason}`, cureOfKvm(reason));
  } catch (error) {
    return missing(subject, reasonOf(error), 'unset NEPHOS_ACCEL');
  }
}

function cureOfKvm(reason: string): string {
  if (/permission denied/.test(reason))
    return 'add your user to the group kvm: usermod -aG kvm USER, then log in again';
  if (/no such file/.test(reason))
    return 'modprobe kvm_intel or kvm_amd; in a VM enable nested virtualization; in a container pass --device /dev/kvm';
  return 'enable virtualization in the firmware, or nested virtualization if this host is a VM; Nephos works without it';
}

/** Checks /dev/net/tun: TAPs need it, the network of nephos run does not. */
export function checkTun(path = '/dev/net/tun'): Check {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    return ok(path, 'can be opened');
  } catch (error) {
    return warning(
      path,
      `${reasonOf(error)}; nephos run does not need it, cloud-hypervisor --net tap=... does`,
      'modprobe tun; in a container pass --device /dev/net/tun and the capability NET_ADMIN',
    );
  }
}

/** States that vsock needs nothing of the host: its back-end is a thread of the VMM. */
export function checkVsock(): Check {
  return ok('vsock', 'built in: needs no module of the host');
}

/** Checks the folders of Nephos: access, owner and free space. */
export function checkFolders(env: NodeJS.ProcessEnv = process.env): Check[] {
  return [
    checkFolder('cache', cacheFolder(env), 'NEPHOS_CACHE or XDG_CACHE_HOME'),
    checkFolder('state', vmsDirectory(), 'XDG_STATE_HOME'),
  ];
}

/** Checks a folder, or the nearest one above it that exists. */
export function checkFolder(subject: string, path: string, variable: string): Check {
  const existing = nearestFolder(path);
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
    if (existing === path && subject === 'state') checkPrivateDirectory(path);
    const { bavail, bsize } = statfsSync(existing);
    const free = bavail * bsize;
    const found = `${path}, ${showSize(free)} free`;
    const cure = `free space, e.g. with nephos prune, or set ${variable} to another disk`;
    if (free < SPACE_LEAST) return missing(subject, found, cure);
    return free < SPACE_LOW ? warning(subject, found, cure) : ok(subject, found);
  } catch (error) {
    return missing(subject, `${path}: ${reasonOf(error)}`, `set ${variable} to a directory of yours`);
  }
}

function nearestFolder(path: string): string {
  return existsSync(path) || path === dirname(path) ? path : nearestFolder(dirname(path));
}
