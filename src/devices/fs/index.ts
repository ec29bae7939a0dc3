import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { FsConfig } from './config.ts';
import { planFs } from './plan.ts';

export const fs = defineDevice({
  member: 'fs',
  field: optional(list(nested(FsConfig))),
  struct: FsConfig,
  many: true,
  flag: 'fs',
  ids: { prefix: '_fs' },
  takesSlot: true,
  removable: true,
  editable: ['pci_segment'],
  unsaved: () => 'its daemon has state of its own',
  plan: planFs,
});
