import { optional } from '../../schema/field.ts';
import { nested } from '../../schema/kinds.ts';
import { defineDevice, hotAdd, hotAddTexts } from '../device.ts';
import { VsockConfig } from './config.ts';
import { planVsock } from './plan.ts';
import { checkVsock } from './rules.ts';

export const vsock = defineDevice({
  member: 'vsock',
  field: optional(nested(VsockConfig)),
  struct: VsockConfig,
  many: false,
  order: { slot: 160, config: 150, words: 100, route: 70, command: 60 },
  flag: 'vsock',
  ids: { prefix: '_vsock' },
  takesSlot: true,
  behindIommu: { onRequest: true, bySegment: true },
  removable: true,
  answered: { item: { always: { pci_segment: 0 } } },
  hotAdd: hotAdd({
    route: 'vm.add-vsock',
    request: VsockConfig,
    texts: hotAddTexts('vsock device', 'device'),
    inContract: true,
    command: { usage: '<vsock_config>', summary: 'Add vsock device', noun: 'vsock' },
  }),
  editable: ['socket', 'cid', 'pci_segment'],
  check: checkVsock,
  plan: planVsock,
});
