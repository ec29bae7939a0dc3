import { defaulted } from '../../schema/field.ts';
import { flag } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { onSlot } from '../common/pci.ts';

/**
 * A watchdog that resets the VM when the guest no longer feeds it: Intel's 6300ESB, which Linux has a driver for. The guest sets
 * its timeout.
 */
export const watchdog = defineDevice({
  member: 'watchdog',
  field: defaulted(flag('A watchdog that restarts the VM when the guest no longer feeds it'), false),
  struct: undefined,
  many: false,
  order: { slot: 190, config: 190 },
  flag: 'watchdog',
  ids: { fixed: '_watchdog' },
  takesSlot: true,
  removable: false,
  plan: (_, at) => [{ kind: 'device', props: { driver: 'i6300esb', ...onSlot(at) } }],
});
