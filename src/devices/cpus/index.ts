import { defaulted } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { CpusConfig } from './config.ts';
import { checkCpus } from './rules.ts';

export const cpus = defineDevice({
  member: 'cpus',
  field: defaulted(nested(CpusConfig), { boot_vcpus: 1, max_vcpus: 1 }),
  struct: CpusConfig,
  many: false,
  order: { slot: 10, config: 10, words: 230 },
  flag: 'cpus',
  flagFallback: 'boot=1',
  ids: undefined,
  takesSlot: false,
  removable: false,
  answered: { item: { always: { features: { amx: false } } } },
  editable: ['affinity'],
  check: checkCpus,
});
