import { beyond, optional } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { DEBUG_PORT, DebugConsoleConfig } from './config.ts';
import { planDebugConsole } from './plan.ts';
import { checkConsole } from '../console/rules.ts';

export const debugConsole = defineDevice({
  member: 'debug_console',
  field: beyond(optional(nested(DebugConsoleConfig))),
  struct: DebugConsoleConfig,
  many: false,
  order: { slot: 100, config: 230, words: 150 },
  flag: 'debug-console',
  ids: { fixed: '_debug_console' },
  takesSlot: false,
  removable: false,
  answered: { absent: { mode: 'Off', iobase: DEBUG_PORT } },
  editable: ['mode', 'file'],
  present: ({ mode }) => mode !== 'Off',
  check: checkConsole,
  plan: planDebugConsole,
});
