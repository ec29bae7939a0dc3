import type { Device } from '../devices/device.ts';
import { FwCfgConfig } from '../devices/payload/fw-cfg.ts';
import { DEVICES } from '../devices/table.ts';
import { MemoryZoneConfig } from '../devices/memory/config.ts';
import { NO_IGVM } from '../devices/payload/config.ts';
import { syntaxOf } from '../schema/option-string.ts';
import type { Flag } from './flag.ts';

/** Flags that describe a VM: kernel and firmware, then those of the table of devices. */
export const VM_FLAGS: readonly Flag[] = [
  {
    name: 'kernel',
    takes: 'one',
    doc: 'Kernel (bzImage, or ELF with a PVH note) or firmware; a VM boots at once',
    syntax: '<path>',
  },
  {
    name: 'firmware',
    takes: 'one',
    doc: 'Firmware, or the name of one that the distribution has, e.g. OVMF; a VM boots at once',
    syntax: '<path>',
  },
  {
    name: 'firmware-vars',
    takes: 'one',
    doc: 'File that keeps the EFI variables of OVMF_CODE*.fd; made from the OVMF_VARS*.fd beside it; without it they are in memory until vm.delete',
    syntax: '<path>',
  },
  { name: 'initramfs', takes: 'one', doc: 'First file system of the kernel', syntax: '<path>' },
  { name: 'cmdline', takes: 'one', doc: 'Command line of the kernel', syntax: '<text>', fallback: '' },
  { name: 'igvm', takes: 'one', doc: `IGVM file; refused: ${NO_IGVM}`, syntax: '<path>' },
  { name: 'host-data', takes: 'one', doc: 'Data for a guest with SEV-SNP; refused', syntax: '<text>' },
  {
    name: 'fw-cfg-config',
    takes: 'one',
    doc: FwCfgConfig.doc,
    syntax: syntaxOf(FwCfgConfig),
  },
  ...DEVICES.flatMap(flagOf),
  { name: 'memory-zone', takes: 'many', doc: MemoryZoneConfig.doc, syntax: syntaxOf(MemoryZoneConfig) },
];

function flagOf({ flag, struct, many, field, flagFallback: fallback }: Device): Flag[] {
  if (flag === undefined) return [];
  if (struct === undefined) return [{ name: flag, takes: 'none', doc: field.doc }];
  return [
    {
      name: flag,
      takes: many ? 'many' : 'one',
      doc: struct.doc,
      syntax: syntaxOf(struct),
      ...(fallback === undefined ? {} : { fallback }),
    },
  ];
}
