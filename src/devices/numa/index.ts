import { bounded, optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { NUMA_NODES, NumaConfig } from './config.ts';

export const numa = defineDevice({
  member: 'numa',
  field: optional(bounded(list(nested(NumaConfig)), NUMA_NODES)),
  struct: NumaConfig,
  many: true,
  order: { slot: 30, config: 180, words: 120 },
  flag: 'numa',
  ids: undefined,
  takesSlot: false,
  removable: false,
  editable: ['pci_segments'],
});
