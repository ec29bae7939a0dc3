import { existsSync } from 'node:fs';
import { findFirmware } from '../../host/kernel/find-firmware.ts';
import { RunError } from '../errors.ts';

/** Places of UEFI firmware in one file. It needs no image of EFI variables, which a disk image that boots by itself does not use. */
const PLACES = ['/usr/share/ovmf/OVMF.fd', '/usr/share/OVMF/OVMF.fd', '/usr/share/qemu/OVMF.fd'];

/** Chooses UEFI firmware for a disk image. @throws RunError that names the package */
export async function chooseFirmware(): Promise<string> {
  const found = PLACES.find((path) => existsSync(path));
  if (found !== undefined) return found;
  try {
    return (await findFirmware()).code;
  } catch (cause) {
    const message =
      'no UEFI firmware found: install the package `ovmf` (Fedora, Arch Linux: `edk2-ovmf`), or give a file with --firmware, or a kernel with --kernel';
    throw new RunError('start', message, { cause });
  }
}
