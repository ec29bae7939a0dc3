import { findFirmware } from '../../../host/kernel/find-firmware.ts';
import { findProgram } from '../../../qemu/process/program.ts';
import { findGuestTools } from '../../../run/guest-tools/guest-tools.ts';
import { reasonOf } from '../../../util/errno.ts';
import { missing, ok, warning, type Check } from './check.ts';

/** Programs that make the guest tools. */
const BUILDERS = ['apt-get', 'apt-cache', 'dpkg-deb', 'xz'] as const;

/** Checks the files that guests boot from. */
export async function checkGuestFiles(): Promise<Check[]> {
  return [await checkGuestTools(), await checkFirmware()];
}

/** Checks kernel and guest tools: in the cache, or programs that can make them. */
async function checkGuestTools(): Promise<Check> {
  const subject = 'kernel and guest tools';
  const tools = await findGuestTools();
  if (tools !== undefined) return ok(subject, `Linux ${tools.release}, ${tools.kernel}`);
  const absent = BUILDERS.filter((program) => findProgram(program) === undefined);
  if (absent.length === 0)
    return warning(subject, 'not prepared yet; the first run does it', 'nephos setup does it now');
  return missing(
    subject,
    `not prepared, and this host lacks ${absent.join(', ')}`,
    'run nephos setup on a Debian host, and copy ~/.cache/nephos/guest-tools from it',
  );
}

/** Checks the UEFI firmware, which disk images need. */
async function checkFirmware(): Promise<Check> {
  try {
    const { code } = await findFirmware();
    return ok('UEFI firmware', code);
  } catch (error) {
    return warning('UEFI firmware', `${reasonOf(error)}; disk images need it`, 'apt-get install ovmf');
  }
}
