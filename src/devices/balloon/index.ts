import { optional } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { BalloonConfig } from './config.ts';
import { planBalloon } from './plan.ts';
import { checkBalloon } from './rules.ts';

export const balloon = defineDevice({
  member: 'balloon',
  field: optional(nested(BalloonConfig)),
  struct: BalloonConfig,
  many: false,
  order: { slot: 180, config: 90, words: 40 },
  flag: 'balloon',
  ids: { fixed: '_balloon' },
  takesSlot: true,
  removable: false,
  answered: { item: { always: { free_page_reporting: false } } },
  check: checkBalloon,
  plan: planBalloon,
});
