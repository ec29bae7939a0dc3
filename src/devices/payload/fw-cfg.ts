import {
  bounded,
  defaulted,
  optional,
  struct,
  withoutEffect,
  worded,
  type ValueOf,
} from '../../schema/field.ts';
import { flag, list, nested, path, text } from '../../schema/kinds.ts';
import { insideBrackets, splitOutside, unquoted } from '../../schema/option-lists.ts';

/** Files of the firmware configuration device: QEMU has 32 places (hw/nvram/fw_cfg.c), and uses some itself. */
export const FW_CFG_ITEMS = { maxItems: 16 } as const;

/** Name of a file, of at most 55 bytes (FW_CFG_MAX_FILE_PATH); no character of it can start another option. */
export const FW_CFG_NAME = { pattern: '^[A-Za-z0-9][A-Za-z0-9._/-]{0,54}$' } as const;

/** A file that a guest reads from the firmware configuration device. */
export interface FwCfgItem extends ValueOf<typeof FwCfgItem> {}
export const FwCfgItem = struct({
  name: 'FwCfgItem',
  doc: 'A file that the guest reads from the firmware configuration device: from a file of the host, or a text',
  fields: {
    name: bounded(text('Name, usually below `opt/`', '<name>'), FW_CFG_NAME),
    file: optional(path('File with the contents')),
    string: optional(text('The contents')),
  },
});

export interface FwCfgItemList extends ValueOf<typeof FwCfgItemList> {}
export const FwCfgItemList = struct({
  name: 'FwCfgItemList',
  doc: 'Files that the guest reads from the firmware configuration device',
  fields: { item_list: defaulted(bounded(list(nested(FwCfgItem)), FW_CFG_ITEMS), []) },
});

/** Firmware configuration device, which the machine always has. */
export interface FwCfgConfig extends ValueOf<typeof FwCfgConfig> {}
export const FwCfgConfig = struct({
  name: 'FwCfgConfig',
  doc: 'The firmware configuration device (fw_cfg), which the machine always has: further files in it',
  fields: {
    e820: always('The memory map'),
    kernel: always('The kernel'),
    cmdline: always('The command line'),
    initramfs: always('The initramfs'),
    acpi_tables: worded('acpi_table', always('The ACPI tables')),
    items: optional({
      ...nested(FwCfgItemList),
      read: (words: string) => ({ item_list: readItemList(words) }),
      syntax: '[name=<name>,file=<path>:name=<name>,string=<text>...]',
    }),
  },
});

/** Returns the member of a part that is always in the device: QEMU's firmware and kernel loader read it there. */
function always(doc: string) {
  return withoutEffect(defaulted(flag(`${doc} is in the device; always so`), true), (value) =>
    value === true ? undefined : 'the device always has it',
  );
}

/** Reads `[name=opt/a,file=/x:name=opt/b,string="a text"]`. */
function readItemList(words: string): unknown[] {
  const inner = insideBrackets(words);
  if (inner === undefined) throw new Error('expected a list in brackets: [name=<name>,file=<path>:...]');
  return itemTexts(inner).map((item) => Object.fromEntries(splitOutside(item, ',').map(readPair)));
}

/** Splits at the colons before `name=`: a path may have others. */
function itemTexts(inner: string): string[] {
  const items: string[] = [];
  for (const piece of splitOutside(inner, ':')) {
    const last = items.pop();
    if (last === undefined) items.push(piece);
    else if (/^\s*name=/.test(piece)) items.push(last, piece);
    else items.push(`${last}:${piece}`);
  }
  return items;
}

function readPair(pair: string): [string, string] {
  const [, key, value] = /^(name|file|string)=(.*)$/s.exec(pair.trim()) ?? [];
  if (key === undefined || value === undefined)
    throw new Error('expected name=<name>, file=<path> or string=<text>');
  return [key, unquoted(value)];
}
