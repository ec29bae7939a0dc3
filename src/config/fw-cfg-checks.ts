import { nameProblem } from '../devices/payload/fw-cfg.ts';
import { FW_CFG_ITEMS } from '../devices/common/limits.ts';
import type { Report } from './checks.ts';
import { duplicates } from './numbers.ts';
import type { VmConfig } from './vm-config.ts';

/** Files of the firmware configuration device: named as QEMU takes them, each with one source. */
export function checkFwCfg({ payload }: VmConfig, report: Report): void {
  const items = payload?.fw_cfg_config?.items?.item_list ?? [];
  const list = 'payload.fw_cfg_config.items.item_list';
  if (items.length > FW_CFG_ITEMS.maxItems) {
    return report(list, `more than ${FW_CFG_ITEMS.maxItems}: the device has no more places`);
  }
  for (const [i, { name, file, string }] of items.entries()) {
    const problem = nameProblem(name);
    if (problem !== undefined) report(`${list}[${i}].name`, problem);
    if ((file === undefined) === (string === undefined)) {
      report(`${list}[${i}]`, 'exactly one of file and string is required');
    }
  }
  for (const { index, value, first } of duplicates(items.map(({ name }) => name))) {
    report(`${list}[${index}].name`, `"${value}" is taken by ${list}[${first}]`);
  }
}
