import { existsSync } from 'node:fs';

/** Places where distributions put OVMF. */
const PLACES = [
  '/usr/share/OVMF/OVMF_CODE_4M.fd',
  '/usr/share/OVMF/OVMF_CODE.fd',
  '/usr/share/OVMF/OVMF.fd',
  '/usr/share/ovmf/OVMF.fd',
  '/usr/share/edk2/ovmf/OVMF_CODE.fd',
  '/usr/share/edk2/x64/OVMF_CODE.4m.fd',
  '/usr/share/edk2-ovmf/x64/OVMF_CODE.fd',
  '/usr/share/qemu/ovmf-x86_64-code.bin',
] as const;

/** Returns the path of UEFI firmware on this host; undefined if there is none. */
export function findFirmware(): string | undefined {
  return PLACES.find((path) => existsSync(path));
}
