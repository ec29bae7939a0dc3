import { duplicates } from '../../util/duplicates.ts';
import type { Report } from '../common/rules.ts';
import {
  CMDLINE,
  type CmdLineConfig,
  type InitramfsConfig,
  type KernelConfig,
  type PayloadConfig,
} from './config.ts';
import { FW_CFG_ITEMS, FW_CFG_NAME, type FwCfgConfig } from './fw-cfg.ts';

/** Checks that the kernel and the initramfs have paths. */
export function checkBootFiles(
  { kernel, initramfs }: { readonly kernel: KernelConfig; readonly initramfs: InitramfsConfig | undefined },
  report: Report,
): void {
  if (kernel.path === '') report('kernel.path', 'No kernel specified');
  if (initramfs?.path === '') report('initramfs.path', 'must not be empty');
}

/** Checks that the file of EFI variables has a path. */
export function checkFirmwareVariables(payload: PayloadConfig | undefined, report: Report): void {
  if (payload?.firmware_vars === '') report('payload.firmware_vars', 'must not be empty');
}

/** Checks the kernel's command line. */
export function checkCommandLine({ args }: CmdLineConfig, report: Report): void {
  if (!new RegExp(CMDLINE.pattern).test(args)) report('cmdline.args', 'only printable ASCII is possible');
  if (args.length > CMDLINE.maxLength) report('cmdline.args', `longer than ${CMDLINE.maxLength} bytes`);
}

const NAME = new RegExp(FW_CFG_NAME.pattern);

/** Checks the files of the firmware configuration device: QEMU accepts their names, and each has one source. */
export function checkFwCfg(config: FwCfgConfig | undefined, report: Report): void {
  const items = config?.items?.item_list ?? [];
  const list = 'payload.fw_cfg_config.items.item_list';
  if (items.length > FW_CFG_ITEMS.maxItems) {
    return report(list, `more than ${FW_CFG_ITEMS.maxItems}: the device has no more places`);
  }
  for (const [i, { name, file, string }] of items.entries()) {
    if (!NAME.test(name)) {
      report(`${list}[${i}].name`, 'must have 1 to 55 letters, digits, dots, slashes, dashes or underscores');
    }
    if ((file === undefined) === (string === undefined)) {
      report(`${list}[${i}]`, 'exactly one of file and string is required');
    }
  }
  for (const { index, value, first } of duplicates(items.map(({ name }) => name))) {
    report(`${list}[${index}].name`, `"${value}" is taken by ${list}[${first}]`);
  }
}
