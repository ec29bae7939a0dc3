import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSize, parseSize } from './size.ts';

test('sizes are decimal with K, M and G as powers of 1024', () => {
  const sizes: [string, number][] = [
    ['0', 0],
    ['4096', 4096],
    ['1K', 1024],
    ['512M', 536_870_912],
    ['1G', 1_073_741_824],
    ['524288K', 536_870_912],
    ['+1', 1],
    // as in Cloud Hypervisor, the last of several letters scales
    ['1KM', 1_048_576],
  ];
  for (const [text, bytes] of sizes) assert.equal(parseSize(text), bytes, text);
});

test('sizes that Cloud Hypervisor refuses are refused', () => {
  for (const text of ['', 'G', '1T', '1k', '1m', '0x10', '1.5G', '1 G', '1GiB', '1GB', '-1', 'K1', '1K1']) {
    assert.throws(() => parseSize(text), /expected a size/, text);
  }
});

test('a size that cannot be counted exactly is refused', () => {
  assert.equal(parseSize('9007199254740991'), 2 ** 53 - 1);
  for (const text of ['9007199254740992', '8388608G', '99999999999999999999']) {
    assert.throws(() => parseSize(text), /too large/, text);
  }
});

test('sizes are shown in the largest unit that loses nothing', () => {
  assert.equal(formatSize(536_870_912), '512M');
  assert.equal(formatSize(8_589_934_592), '8G');
  assert.equal(formatSize(1536), '1536');
  assert.equal(formatSize(0), '0');
});
