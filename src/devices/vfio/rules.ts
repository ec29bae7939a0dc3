import { duplicates } from '../../util/duplicates.ts';
import type { Report, RuleContext } from '../common/rules.ts';
import { CLIQUE, type DeviceConfig } from './config.ts';

/** Checks the group of an NVIDIA device. */
export function checkVfio(
  { x_nv_gpudirect_clique: clique = 0 }: DeviceConfig,
  { place, report }: RuleContext,
): void {
  if (clique > CLIQUE.maximum) report(`${place}.x_nv_gpudirect_clique`, `larger than ${CLIQUE.maximum}`);
}

/** Checks that no device of the host is passed through twice. */
export function checkVfioPaths(devices: readonly DeviceConfig[], report: Report): void {
  for (const { index, value, first } of duplicates(devices.map(({ path }) => path))) {
    report(`devices[${index}].path`, `${value} is passed through as devices[${first}] already`);
  }
}
