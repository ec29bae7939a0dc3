import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../../schema/decode.ts';
import type { Report } from '../common/rules.ts';
import { PayloadConfig } from './config.ts';
import { FwCfgConfig } from './fw-cfg.ts';
import { checkBootFiles, checkCommandLine, checkFirmwareVariables, checkFwCfg } from './rules.ts';

/** Returns the problems that a rule reports. */
function reported(rule: (report: Report) => void): string[] {
  const problems: string[] = [];
  rule((place, reason) => void problems.push(`${place}: ${reason}`));
  return problems;
}

test('kernel and initramfs have paths', () => {
  const check = (kernel: string, initramfs?: string) =>
    reported((report) =>
      checkBootFiles(
        { kernel: { path: kernel }, initramfs: initramfs === undefined ? undefined : { path: initramfs } },
        report,
      ),
    );
  assert.deepEqual(check('/k'), []);
  assert.deepEqual(check('', ''), ['kernel.path: No kernel specified', 'initramfs.path: must not be empty']);
});

test('the kernel’s command line is printable and fits', () => {
  const check = (args: string) => reported((report) => checkCommandLine({ args }, report));
  assert.deepEqual(check('a'.repeat(65_536)), []);
  assert.deepEqual(check('a'.repeat(65_537)), ['cmdline.args: longer than 65536 bytes']);
  for (const args of ['a\nb', 'a\tb', 'ä', '\x7f']) {
    assert.deepEqual(check(args), ['cmdline.args: only printable ASCII is possible']);
  }
});

test('a file of EFI variables has a path', () => {
  const check = (payload: object) =>
    reported((report) => checkFirmwareVariables(decode(PayloadConfig, payload), report));
  assert.deepEqual(check({ firmware: '/f', firmware_vars: '/v' }), []);
  assert.deepEqual(check({ firmware: '/f', firmware_vars: '' }), [
    'payload.firmware_vars: must not be empty',
  ]);
});

const LIST = 'payload.fw_cfg_config.items.item_list';

const checkItems = (...item_list: readonly object[]) =>
  reported((report) => checkFwCfg(decode(FwCfgConfig, { items: { item_list } }), report));

test('a file of fw_cfg has a name that QEMU accepts, and one source', () => {
  const name = 'opt/a';
  const nameProblem = `${LIST}[0].name: must have 1 to 55 letters, digits, dots, slashes, dashes or underscores`;
  const sourceProblem = `${LIST}[0]: exactly one of file and string is required`;
  assert.deepEqual(checkItems({ name, file: '/f' }, { name: 'a'.repeat(55), string: 's' }), []);
  for (const bad of ['', '-a', 'a b', 'a,b', 'a'.repeat(56)]) {
    assert.deepEqual(checkItems({ name: bad, file: '/f' }), [nameProblem], bad);
  }
  assert.deepEqual(checkItems({ name }), [sourceProblem]);
  assert.deepEqual(checkItems({ name, file: '/f', string: 's' }), [sourceProblem]);
});

test('files of fw_cfg have different names, and there are 16 at most', () => {
  const item = (i: number) => ({ name: `opt/${i}`, file: '/f' });
  assert.deepEqual(checkItems(item(0), item(1), item(0)), [
    `${LIST}[2].name: "opt/0" is taken by ${LIST}[0]`,
  ]);
  assert.deepEqual(checkItems(...Array.from({ length: 16 }, (_, i) => item(i))), []);
  assert.deepEqual(checkItems(...Array.from({ length: 17 }, (_, i) => item(i))), [
    `${LIST}: more than 16: the device has no more places`,
  ]);
});
