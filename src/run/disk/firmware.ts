import { existsSync } from 'node:fs';
import { RunError } from '../errors.ts';

/** Places of UEFI firmware in one file, which is its own store of variables. */
const PLACES = ['/usr/share/ovmf/OVMF.fd', '/usr/share/OVMF/OVMF.fd', '/usr/share/qemu/OVMF.fd'];

/** Finds UEFI firmware for a disk image. @throws RunError that names the package */
export function findFirmware(): string {
  const found = PLACES.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new RunError(
    'start',
    'no UEFI firmware found: install the package `ovmf`, or give a file with --firmware, or a kernel with --kernel',
  );
}
