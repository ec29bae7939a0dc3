import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { platform } from './index.ts';

test('texts of the platform are not empty', () => {
  const members = ['serial_number', 'system_manufacturer', 'system_product_name', 'system_version'];
  members.push('system_family', 'system_sku_number', 'chassis_asset_tag');
  for (const member of members) {
    expectProblems(platform, [[member, { [member]: '' }, [`platform.${member}: must not be empty`]]]);
  }
});

test('a UUID has its usual form', () => {
  expectProblems(platform, [
    ['a UUID', { uuid: '12345678-9ABC-def0-1234-56789abcdef0' }, []],
    ['another text', { uuid: '12345678' }, ['platform.uuid: "12345678" is no UUID']],
  ]);
});

test('OEM strings are not empty, and not more than a table can count', () => {
  expectProblems(platform, [
    ['255', { oem_strings: Array.from({ length: 255 }, () => 'x') }, []],
    ['256', { oem_strings: Array.from({ length: 256 }, () => 'x') }, ['platform.oem_strings: more than 255']],
    ['an empty one', { oem_strings: ['a', ''] }, ['platform.oem_strings: must not be empty']],
  ]);
});
