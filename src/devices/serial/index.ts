import { defaulted } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { serialBackend } from '../console/plan.ts';
import { ConsoleConfig } from '../console/config.ts';
import { defineDevice } from '../device.ts';
import { checkSerial } from '../console/rules.ts';

/** The 16550 serial port, ttyS0 of the guest. */
export const serial = defineDevice({
  member: 'serial',
  field: defaulted(nested(ConsoleConfig), { mode: 'Null' }),
  struct: ConsoleConfig,
  many: false,
  order: { slot: 80, config: 120, words: 80 },
  flag: 'serial',
  flagFallback: 'null',
  ids: { fixed: '_serial' },
  takesSlot: false,
  removable: false,
  editable: ['mode', 'file', 'socket'],
  present: ({ mode }) => mode !== 'Off',
  check: checkSerial,
  plan: (config, at) => [
    { kind: 'chardev', id: at.qemuId, backend: serialBackend(config) },
    { kind: 'device', props: { driver: 'isa-serial', chardev: at.qemuId } },
  ],
});
