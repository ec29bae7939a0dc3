import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { SgxEpcConfig } from './config.ts';
import { checkSection, checkSections } from './rules.ts';

export const sgxEpc = defineDevice({
  member: 'sgx_epc',
  field: optional(list(nested(SgxEpcConfig))),
  struct: SgxEpcConfig,
  many: true,
  order: { slot: 50, config: 170, words: 110 },
  flag: 'sgx-epc',
  ids: undefined,
  takesSlot: false,
  removable: false,
  check: checkSection,
  checkList: checkSections,
});
