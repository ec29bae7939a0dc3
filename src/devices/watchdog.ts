import { defaulted, later } from '../schema/field.ts';
import { flag } from '../schema/kinds.ts';
import { defineDevice } from './device.ts';

/** A watchdog that restarts the VM when the guest no longer feeds it. */
export const watchdog = defineDevice({
  member: 'watchdog',
  field: later(defaulted(flag('A watchdog that restarts the VM when the guest no longer feeds it'), false)),
  struct: undefined,
  many: false,
  flag: 'watchdog',
  ids: { fixed: '_watchdog' },
  takesSlot: true,
  removable: false,
});
