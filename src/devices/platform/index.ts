import { beyond, optional } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { PlatformConfig } from './config.ts';
import { checkPlatform } from './rules.ts';

export const platform = defineDevice({
  member: 'platform',
  field: beyond(optional(nested(PlatformConfig))),
  struct: PlatformConfig,
  many: false,
  order: { slot: 40, config: 200, words: 130 },
  flag: 'platform',
  ids: undefined,
  takesSlot: false,
  removable: false,
  // read at boot
  editable: ['oem_strings'],
  check: checkPlatform,
});
