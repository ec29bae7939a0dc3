import { defaulted } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { DEFAULT_MEMORY, MemoryConfig } from './config.ts';
import { checkMemory } from './rules.ts';

export const memory = defineDevice({
  member: 'memory',
  field: defaulted(nested(MemoryConfig), { size: DEFAULT_MEMORY }),
  struct: MemoryConfig,
  many: false,
  order: { slot: 20, config: 20, words: 240 },
  flag: 'memory',
  flagFallback: 'size=512M',
  ids: undefined,
  takesSlot: false,
  removable: false,
  answered: {
    item: { always: { prefault: false, thp: true } },
    nested: { zones: { always: { prefault: false }, never: { mergeable: false } } },
  },
  editable: [
    ...['shared', 'mergeable', 'prefault', 'thp', 'reserve'],
    ...['shared', 'mergeable', 'prefault', 'thp', 'reserve'].map((name) => `zones[].${name}`),
    ...['zones[].file', 'zones[].host_numa_node'],
  ],
  check: checkMemory,
});
