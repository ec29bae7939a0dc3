import { beyond, optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { RateLimitGroupConfig } from './config.ts';
import { checkGroups } from './rules.ts';

export const rateLimitGroup = defineDevice({
  member: 'rate_limit_groups',
  field: beyond(optional(list(nested(RateLimitGroupConfig)))),
  struct: RateLimitGroupConfig,
  many: true,
  order: { slot: 70, config: 270, words: 140 },
  flag: 'rate-limit-group',
  ids: undefined,
  takesSlot: false,
  removable: false,
  answered: { item: { always: { rate_limiter_config: {} } } },
  editable: 'all',
  checkList: checkGroups,
});
