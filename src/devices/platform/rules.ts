import type { RuleContext } from '../common/rules.ts';
import { OEM_STRINGS, UUID, type PlatformConfig } from './config.ts';

/** Texts of the platform that must not be empty, in the order of their problems. */
const TEXTS = [
  'serial_number',
  'system_manufacturer',
  'system_product_name',
  'system_version',
  'system_family',
  'system_sku_number',
  'chassis_asset_tag',
] as const;

const UUID_PATTERN = new RegExp(UUID.pattern);

/** Checks the texts of the guest's SMBIOS tables. PCI segments are checked in config/segment-checks.ts. */
export function checkPlatform(platform: PlatformConfig, { place, report }: RuleContext): void {
  const { uuid, oem_strings: strings = [] } = platform;
  if (uuid !== undefined && !UUID_PATTERN.test(uuid)) report(`${place}.uuid`, `"${uuid}" is no UUID`);
  if (strings.length > OEM_STRINGS.maxItems) {
    report(`${place}.oem_strings`, `more than ${OEM_STRINGS.maxItems}`);
  }
  for (const member of TEXTS) {
    if (platform[member] === '') report(`${place}.${member}`, 'must not be empty');
  }
  if (strings.includes('')) report(`${place}.oem_strings`, 'must not be empty');
}
