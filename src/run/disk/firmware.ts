import { existsSync } from 'node:fs';
import { findFirmware, findVariables } from '../../host/kernel/find-firmware.ts';
import { RunError } from '../errors.ts';

/** UEFI firmware for a disk image. */
export interface DiskFirmware {
  /** Absolute path */
  readonly path: string;
  /** It keeps EFI variables in flash: each VM has a file of its own for them */
  readonly hasVariables: boolean;
}

/** Places of UEFI firmware in one file, which keeps no EFI variables. */
const PLACES = ['/usr/share/ovmf/OVMF.fd', '/usr/share/OVMF/OVMF.fd', '/usr/share/qemu/OVMF.fd'];

/** Chooses UEFI firmware for a disk image. `wanted` is that of the request. @throws RunError that names the package */
export async function chooseFirmware(wanted: string | undefined): Promise<DiskFirmware> {
  if (wanted !== undefined) return describe(wanted);
  try {
    return { path: (await findFirmware()).code, hasVariables: true };
  } catch (cause) {
    const found = PLACES.find((path) => existsSync(path));
    if (found !== undefined) return describe(found);
    const message =
      'no UEFI firmware found: install the package `ovmf` (Fedora, Arch Linux: `edk2-ovmf`), or give a file with --firmware, or a kernel with --kernel';
    throw new RunError('start', message, { cause });
  }
}

async function describe(path: string): Promise<DiskFirmware> {
  return { path, hasVariables: (await findVariables(path)) !== undefined };
}
