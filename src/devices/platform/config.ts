import {
  bounded,
  defaulted,
  formed,
  later,
  optional,
  struct,
  type ValueOf,
  type WordsForm,
} from '../../schema/field.ts';
import { flag, list, text, uint } from '../../schema/kinds.ts';
import { readTexts } from '../../schema/option-lists.ts';
import { readIntegers } from '../common/integer-list.ts';
import { NOT_EMPTY } from '../common/limits.ts';

/** OEM strings: the table counts them in one byte (SMBIOS 3.7, 7.12). */
export const OEM_STRINGS = { maxItems: 255 } as const;

/** UUID in its usual form. */
export const UUID = { pattern: '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' } as const;

/** Description of the machine for the guest. */
export interface PlatformConfig extends ValueOf<typeof PlatformConfig> {}
export const PlatformConfig = struct({
  name: 'PlatformConfig',
  doc: 'Description of the machine for the guest (SMBIOS), and its PCI segments',
  aliases: { system_serial_number: 'serial_number', system_uuid: 'uuid' },
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
    serial_number: formed(
      eitherWord('system_serial_number', 'serial_number'),
      optional(bounded(text('Serial number of the machine'), NOT_EMPTY)),
    ),
    uuid: formed(
      eitherWord('system_uuid', 'uuid'),
      optional(bounded(text('UUID of the machine', '<uuid>'), UUID)),
    ),
    tdx: later(
      optional(flag('Protected from the host by TDX')),
      'nothing here protects a guest from its host: QEMU 10 has no TDX',
    ),
    sev_snp: later(
      optional(flag('Protected from the host by SEV-SNP')),
      'nothing here protects a guest from its host: there is no processor with SEV-SNP to see it work',
    ),
    oem_strings: optional(
      bounded(
        list(bounded(text('A text for programs in the guest'), NOT_EMPTY), readTexts, '[<text>,<text>...]'),
        OEM_STRINGS,
      ),
    ),
    system_manufacturer: optional(
      bounded(text('Manufacturer of the machine; default: `Cloud Hypervisor`'), NOT_EMPTY),
    ),
    system_product_name: optional(
      bounded(text('Name of the product; default: `cloud-hypervisor`'), NOT_EMPTY),
    ),
    system_version: optional(bounded(text('Version of the product'), NOT_EMPTY)),
    system_family: optional(bounded(text('Family of products'), NOT_EMPTY)),
    system_sku_number: optional(
      bounded(text('Number of the product in the manufacturer’s lists'), NOT_EMPTY),
    ),
    chassis_asset_tag: optional(bounded(text('Inventory number of the machine'), NOT_EMPTY)),
  },
});

/** Reads the option of current versions of Cloud Hypervisor, or the one of earlier versions. */
function eitherWord(name: string, before: string): WordsForm {
  const syntax = `${before}=<text>`;
  return { keys: [name, before], syntax, read: (words) => words.text(name) ?? words.text(before) };
}
