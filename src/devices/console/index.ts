import { defaulted } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { ConsoleConfig } from './config.ts';
import { planConsole } from './plan.ts';
import { checkConsole } from './rules.ts';

export const console = defineDevice({
  member: 'console',
  field: defaulted(nested(ConsoleConfig), { mode: 'Tty' }),
  struct: ConsoleConfig,
  many: false,
  order: { slot: 90, config: 130, words: 70 },
  flag: 'console',
  flagFallback: 'tty',
  ids: { fixed: '_console' },
  takesSlot: true,
  behindIommu: { onRequest: true },
  removable: false,
  editable: ['mode', 'file', 'socket'],
  present: ({ mode }) => mode !== 'Off',
  check: checkConsole,
  plan: planConsole,
});
