import { defaulted } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { SOURCE, RngConfig } from './config.ts';
import { planRng } from './plan.ts';
import { checkRng } from './rules.ts';

export const rng = defineDevice({
  member: 'rng',
  field: defaulted(nested(RngConfig), { src: SOURCE }),
  struct: RngConfig,
  many: false,
  order: { slot: 130, config: 80, words: 30 },
  flag: 'rng',
  flagFallback: 'src=/dev/urandom',
  ids: { fixed: '_rng' },
  takesSlot: true,
  behindIommu: { onRequest: true },
  removable: false,
  editable: ['src'],
  check: checkRng,
  plan: planRng,
});
