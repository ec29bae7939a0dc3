import { findFirmware } from './firmware.ts';
import { ok, warning, type Check } from './check.ts';

/** Checks the files that guests boot from. */
export async function checkGuestFiles(): Promise<Check[]> {
  return [checkFirmware()];
}

/** Checks the UEFI firmware, which disk images need. */
function checkFirmware(find = findFirmware): Check {
  const path = find();
  if (path !== undefined) return ok('UEFI firmware', path);
  return warning('UEFI firmware', 'OVMF was not found; disk images need it', 'apt-get install ovmf');
}
