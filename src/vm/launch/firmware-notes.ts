import { access } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { VmConfig } from '../../config/vm-config.ts';
import type { HostFacts } from '../../plan/machine-plan.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('firmware');

/** Warns of what a user gives to a firmware image, or puts beside it, and that has no effect. */
export async function noteFirmware(
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

/** The name that distributions give to the file for the variables of OVMF's code. */
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
