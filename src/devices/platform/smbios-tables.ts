import type { PlatformConfig } from './config.ts';

/** Handles of structures. QEMU's own structures have other handles, and refer to the chassis by this one. */
const HANDLE = { system: 0x100, chassis: 0x300, strings: 0xe00 } as const;

/** Wake-up type: power switch (SMBIOS 3.7, 7.2). */
const POWER_SWITCH = 6;

/** Values of a chassis (SMBIOS 3.7, 7.4): of another type than the listed ones, in a safe state, security unknown. */
const CHASSIS = { type: 1, state: 3, security: 2 } as const;

/**
 * Returns the SMBIOS structures of a platform (DSP0134 3.7: 7.2 system, 7.4 chassis, 7.12 OEM strings), one file each; none for an
 * empty platform.
 */
export function smbiosTables(platform: PlatformConfig): Buffer[] {
  const { chassis_asset_tag: assetTag, oem_strings: strings = [] } = platform;
  return [
    ...(describesSystem(platform) ? [systemTable(platform)] : []),
    ...(assetTag === undefined ? [] : [chassisTable(manufacturerOf(platform), assetTag)]),
    ...(strings.length === 0 ? [] : [structure(11, HANDLE.strings, Buffer.from([strings.length]), strings)]),
  ];
}

function describesSystem(platform: PlatformConfig): boolean {
  const { uuid, serial_number: serial, system_manufacturer: maker, system_product_name: product } = platform;
  const { system_version: version, system_family: family, system_sku_number: sku } = platform;
  return [uuid, serial, maker, product, version, family, sku].some((one) => one !== undefined);
}

function manufacturerOf({ system_manufacturer: maker = 'Cloud Hypervisor' }: PlatformConfig): string {
  return maker;
}

function systemTable(platform: PlatformConfig): Buffer {
  const id = Buffer.from((platform.uuid ?? '0'.repeat(32)).replaceAll('-', ''), 'hex');
  // the first three fields are little-endian
  id.subarray(0, 4).reverse();
  id.subarray(4, 6).reverse();
  id.subarray(6, 8).reverse();
  const texts = numbered();
  const before = [manufacturerOf(platform), platform.system_product_name ?? 'cloud-hypervisor'];
  const first = [...before, platform.system_version, platform.serial_number].map(texts.number);
  const last = [platform.system_sku_number, platform.system_family].map(texts.number);
  const body = Buffer.concat([Buffer.from(first), id, Buffer.from([POWER_SWITCH, ...last])]);
  return structure(1, HANDLE.system, body, texts.all);
}

function chassisTable(manufacturer: string, assetTag: string): Buffer {
  const texts = numbered();
  const [maker = 0, tag = 0] = [manufacturer, assetTag].map(texts.number);
  const { type, state, security } = CHASSIS;
  const names = [maker, type, 0, 0, tag];
  const states = [state, state, state, security];
  // four bytes of the manufacturer's own, then height, power cords, parts and their length, SKU number
  const rest = [0, 0, 0, 0, 0, 0, 0, 0, 0];
  return structure(3, HANDLE.chassis, Buffer.from([...names, ...states, ...rest]), texts.all);
}

/** Collects the texts of a structure. Their numbers start at 1; 0 means no text. */
function numbered() {
  const all: string[] = [];
  return { all, number: (text: string | undefined): number => (text === undefined ? 0 : all.push(text)) };
}

function structure(...[type, handle, body, texts]: [number, number, Buffer, readonly string[]]): Buffer {
  const head = Buffer.from([type, 4 + body.length, handle & 0xff, handle >> 8]);
  return Buffer.concat([head, body, ...texts.map((text) => Buffer.from(`${text}\0`)), Buffer.from([0])]);
}
