import { beyond, optional } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { IvshmemConfig } from './config.ts';
import { ivshmemMemory, planIvshmem } from './plan.ts';
import { checkIvshmem } from './rules.ts';

export const ivshmem = defineDevice({
  member: 'ivshmem',
  field: beyond(optional(nested(IvshmemConfig))),
  struct: IvshmemConfig,
  many: false,
  order: { slot: 210, config: 290, words: 180 },
  flag: 'ivshmem',
  ids: { fixed: '_ivshmem' },
  takesSlot: true,
  treeNode: 'function',
  removable: false,
  editable: ['path', 'pci_segment'],
  unmovable: () => 'other programs may write its memory meanwhile',
  foreignMemory: (qemuId) => [ivshmemMemory(qemuId)],
  check: checkIvshmem,
  plan: planIvshmem,
});
