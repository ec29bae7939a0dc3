import { beyond, optional, withoutEffect } from '../../schema/field.ts';
import { flag, list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { LandlockConfig } from './config.ts';
import { checkLandlockRule } from './rules.ts';

const NOT_APPLIED =
  'Landlock is not applied; QEMU is confined by seccomp, and by --user to the files of another user';

export const landlock = defineDevice({
  member: 'landlock_enable',
  field: beyond(
    withoutEffect(optional(flag('Confine the VMM to the files of the VM; not applied')), NOT_APPLIED),
  ),
  struct: undefined,
  many: false,
  order: { slot: 250, config: 320 },
  flag: 'landlock',
  ids: undefined,
  takesSlot: false,
  removable: false,
  editable: 'all',
});

export const landlockRules = defineDevice({
  member: 'landlock_rules',
  field: beyond(withoutEffect(optional(list(nested(LandlockConfig))), NOT_APPLIED)),
  struct: LandlockConfig,
  many: true,
  order: { slot: 260, config: 330, words: 220 },
  flag: 'landlock-rules',
  ids: undefined,
  takesSlot: false,
  removable: false,
  editable: 'all',
  check: checkLandlockRule,
});
