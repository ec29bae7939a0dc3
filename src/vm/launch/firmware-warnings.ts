import type { VmConfig } from '../../config/vm-config.ts';
import type { HostFacts } from '../../plan/machine-plan.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('firmware');

/** Logs settings that have no effect with firmware. */
export function warnAboutFirmware(
  { kernel, initramfs, cmdline }: VmConfig,
  kind: HostFacts['kernel']['kind'],
): void {
  if (kind !== 'rom' && kind !== 'flash') return;
  const unused = [
    ...(initramfs === undefined ? [] : ['initramfs']),
    ...(cmdline.args === '' ? [] : ['cmdline']),
  ];
  if (unused.length > 0) log.warn(`${kernel.path}: ${unused.join(' and ')}: has no effect with firmware`);
}
