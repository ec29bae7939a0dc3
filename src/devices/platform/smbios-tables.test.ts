import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../../schema/decode.ts';
import { PlatformConfig } from './config.ts';
import { smbiosTables } from './smbios-tables.ts';

const tables = (platform: object): Buffer[] => smbiosTables(decode(PlatformConfig, platform));

/** The texts behind the formatted part of a structure, whose length is its second byte. */
function textsOf(table: Buffer): string[] {
  const texts = table.toString('utf8', table.readUInt8(1)).split('\0');
  assert.deepEqual(texts.splice(-2), ['', '']);
  return texts;
}

/** The text whose number is at an offset (DSP0134 3.7); undefined: none. */
function textAt(table: Buffer | undefined, offset: number): string | undefined {
  assert.ok(table !== undefined);
  return textsOf(table)[table.readUInt8(offset) - 1];
}

test('an empty platform has no structures', () => {
  assert.deepEqual(tables({ num_pci_segments: 2 }), []);
});

test('system information: each text in its field, defaults for manufacturer and product', () => {
  const [system, ...others] = tables({ system_family: 'F', system_sku_number: 'K', serial_number: 'S' });
  assert.deepEqual(others, []);
  assert.deepEqual([system?.readUInt8(0), system?.readUInt8(1)], [1, 27]);
  assert.deepEqual(
    [4, 5, 6, 7, 25, 26].map((offset) => textAt(system, offset)),
    ['Cloud Hypervisor', 'cloud-hypervisor', undefined, 'S', 'K', 'F'],
  );
  const [named] = tables({ system_manufacturer: 'M', system_product_name: 'P', system_version: 'V' });
  assert.deepEqual(
    [4, 5, 6, 7].map((offset) => textAt(named, offset)),
    ['M', 'P', 'V', undefined],
  );
});

test('the chassis has the asset tag and the maker', () => {
  const [system, chassis] = tables({ chassis_asset_tag: 'tag', system_manufacturer: 'M' });
  assert.equal(system?.readUInt8(0), 1);
  assert.deepEqual([chassis?.readUInt8(0), chassis?.readUInt8(1)], [3, 22]);
  assert.deepEqual([textAt(chassis, 4), textAt(chassis, 8)], ['M', 'tag']);
  const [alone] = tables({ chassis_asset_tag: 'tag' });
  assert.deepEqual([alone?.readUInt8(0), textAt(alone, 4)], [3, 'Cloud Hypervisor']);
});

test('names of today’s Cloud Hypervisor for serial number and UUID', () => {
  const uuid = '00112233-4455-6677-8899-aabbccddeeff';
  const [system] = tables({ system_serial_number: 'S', system_uuid: uuid });
  assert.equal(textAt(system, 7), 'S');
  assert.equal(system?.toString('hex', 8, 24), '33221100554477668899aabbccddeeff');
});
