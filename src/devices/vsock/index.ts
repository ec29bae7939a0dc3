import { optional } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { VsockConfig } from './config.ts';
import { planVsock } from './plan.ts';

export const vsock = defineDevice({
  member: 'vsock',
  field: optional(nested(VsockConfig)),
  struct: VsockConfig,
  many: false,
  flag: 'vsock',
  ids: { prefix: '_vsock' },
  takesSlot: true,
  removable: true,
  editable: ['socket', 'cid', 'pci_segment'],
  plan: planVsock,
});
