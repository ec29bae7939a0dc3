import { beyond, optional } from '../../schema/field.ts';
import { flag } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { onSlot } from '../common/pci.ts';

/** Device by which the guest's kernel reports a panic; the event monitor then records `panic`. */
export const pvpanic = defineDevice({
  member: 'pvpanic',
  field: beyond(optional(flag('A device by which the guest’s kernel reports a panic'))),
  struct: undefined,
  many: false,
  order: { slot: 200, config: 220 },
  flag: 'pvpanic',
  ids: { fixed: '_pvpanic' },
  takesSlot: true,
  treeNode: 'function',
  removable: false,
  answered: { absent: false, notInContract: false },
  plan: (_, at) => [{ kind: 'device', props: { driver: 'pvpanic-pci', ...onSlot(at) } }],
});
