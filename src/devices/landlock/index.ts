import { bounded, beyond, optional, struct, withoutEffect, type ValueOf } from '../../schema/field.ts';
import { flag, list, nested, path, text } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { LANDLOCK_ACCESS, NOT_EMPTY } from '../common/limits.ts';

const NOT_APPLIED =
  'Landlock is not applied; QEMU is confined by seccomp, and by --user to the files of another user';

/** A path that the VMM may still open under Landlock. */
export interface LandlockConfig extends ValueOf<typeof LandlockConfig> {}
export const LandlockConfig = struct({
  name: 'LandlockConfig',
  doc: 'A path that may be used under Landlock; checked only',
  fields: {
    path: bounded(path('File or directory'), NOT_EMPTY),
    access: bounded(text('`r`, `w` or `rw`', 'r|w|rw'), LANDLOCK_ACCESS),
  },
});

export const landlock = defineDevice({
  member: 'landlock_enable',
  field: beyond(
    withoutEffect(optional(flag('Confine the VMM to the files of the VM; not applied')), NOT_APPLIED),
  ),
  struct: undefined,
  many: false,
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
  flag: 'landlock-rules',
  ids: undefined,
  takesSlot: false,
  removable: false,
  editable: 'all',
});
