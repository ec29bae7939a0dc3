import { beyond, optional } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { TpmConfig } from './config.ts';
import { planTpm } from './plan.ts';
import { checkTpm } from './rules.ts';

export const tpm = defineDevice({
  member: 'tpm',
  field: beyond(optional(nested(TpmConfig))),
  struct: TpmConfig,
  many: false,
  order: { slot: 240, config: 280, words: 170 },
  flag: 'tpm',
  ids: { fixed: '_tpm' },
  takesSlot: false,
  treeNode: 'none',
  removable: false,
  unsaved: () => 'its emulator (swtpm) has state of its own',
  check: checkTpm,
  plan: planTpm,
});
