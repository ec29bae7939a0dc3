import { beyond, defaulted, later, optional, struct, type ValueOf } from '../schema/field.ts';
import { flag, list, nested, readTexts, text, uint } from '../schema/kinds.ts';
import { readIntegers } from './integers.ts';
import { defineDevice } from './device.ts';

/** What the guest is told about the machine that it runs on. */
export interface PlatformConfig extends ValueOf<typeof PlatformConfig> {}
export const PlatformConfig = struct({
  name: 'PlatformConfig',
  doc: 'What the guest is told of its machine (SMBIOS), and its PCI segments',
  wordsIgnored: ['iommu_address_width', 'iommufd', 'iommufd_fd', 'vfio_p2p_dma'],
  fields: {
    num_pci_segments: defaulted(
      uint('PCI segments; all devices are on segment 0, whatever segment they ask for', { bits: 16, min: 1 }),
      1,
    ),
    iommu_segments: optional(
      list(
        uint('Segment behind the virtual IOMMU; only 0 has devices', { bits: 16 }),
        readIntegers,
        '[<segment>,...]',
      ),
    ),
    serial_number: optional(text('Serial number of the machine')),
    uuid: optional(text('UUID of the machine', '<uuid>')),
    tdx: later(
      optional(flag('Protected from the host by TDX')),
      'nothing here protects a guest from its host: QEMU 10 has no TDX',
    ),
    sev_snp: later(
      optional(flag('Protected from the host by SEV-SNP')),
      'nothing here protects a guest from its host: there is no processor with SEV-SNP to see it work',
    ),
    oem_strings: optional(list(text('A text for programs in the guest'), readTexts, '[<text>,<text>...]')),
  },
});

export const platform = defineDevice({
  member: 'platform',
  field: beyond(optional(nested(PlatformConfig))),
  struct: PlatformConfig,
  many: false,
  flag: 'platform',
  ids: undefined,
  takesSlot: false,
  removable: false,
});

/** Handles of structures that QEMU does not take for its own. */
const HANDLE = { system: 0x100, strings: 0xe00 } as const;

/** Why the machine woke: its power switch (SMBIOS 3.7, 7.2). */
const POWER_SWITCH = 6;

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** Whether a text is a UUID in its usual form. */
export function isUuid(uuid: string): boolean {
  return UUID.test(uuid);
}

/** The SMBIOS structures of a platform (DSP0134 3.7: 7.2 system, 7.12 OEM strings), one file each; none where nothing is said. */
export function smbiosTables({
  serial_number: serial,
  uuid,
  oem_strings: strings = [],
}: PlatformConfig): Buffer[] {
  const tables: Buffer[] = [];
  if (serial !== undefined || uuid !== undefined) {
    const id = Buffer.alloc(16);
    Buffer.from((uuid ?? '').replaceAll('-', ''), 'hex').copy(id);
    // the first three fields have the least byte first
    id.subarray(0, 4).reverse();
    id.subarray(4, 6).reverse();
    id.subarray(6, 8).reverse();
    const texts = ['Cloud Hypervisor', 'cloud-hypervisor', ...(serial === undefined ? [] : [serial])];
    const numbers = Buffer.from([1, 2, 0, serial === undefined ? 0 : 3]);
    tables.push(
      structure(1, HANDLE.system, Buffer.concat([numbers, id, Buffer.from([POWER_SWITCH, 0, 0])]), texts),
    );
  }
  if (strings.length > 0) tables.push(structure(11, HANDLE.strings, Buffer.from([strings.length]), strings));
  return tables;
}

function structure(...[type, handle, body, texts]: [number, number, Buffer, readonly string[]]): Buffer {
  const head = Buffer.from([type, 4 + body.length, handle & 0xff, handle >> 8]);
  return Buffer.concat([head, body, ...texts.map((text) => Buffer.from(`${text}\0`)), Buffer.from([0])]);
}
