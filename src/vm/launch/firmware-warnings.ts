import { access } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { VmConfig } from '../../config/vm-config.ts';
import type { HostFacts } from '../../plan/machine-plan.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('firmware');

/** Logs settings, and files beside a firmware image, that have no effect with firmware. */
export async function warnAboutFirmware(
  { kernel, initramfs, cmdline }: VmConfig,
  kind: HostFacts['kernel']['kind'],
): Promise<void> {
  if (kind !== 'rom' && kind !== 'flash') return;
  const unused = [
    ...(initramfs === undefined ? [] : ['initramfs']),
    ...(cmdline.args === '' ? [] : ['cmdline']),
  ];
  if (unused.length > 0) log.warn(`${kernel.path}: ${unused.join(' and ')}: has no effect with firmware`);
  const variables = variablesBeside(kernel.path);
  if (variables === undefined || !(await exists(variables))) return;
  log.warn(
    `${kernel.path}: ${variables} is not used: EFI variables are kept in RAM until the VM boots again`,
  );
}

/** Returns the path that distributions give to the EFI variables beside an image of OVMF's code. */
function variablesBeside(path: string): string | undefined {
  const name = basename(path);
  return name.includes('_CODE') ? join(dirname(path), name.replace('_CODE', '_VARS')) : undefined;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
