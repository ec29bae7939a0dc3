import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice, hotAdd, hotAddTexts } from '../device.ts';
import { NetConfig } from './config.ts';
import { withDescriptors } from './descriptors.ts';
import { planNet } from './plan.ts';
import { checkNet } from './rules.ts';

export const net = defineDevice({
  member: 'net',
  field: optional(list(nested(NetConfig))),
  struct: NetConfig,
  many: true,
  order: { slot: 120, config: 70, words: 20, route: 60, command: 40 },
  flag: 'net',
  ids: { prefix: '_net' },
  takesSlot: true,
  behindIommu: { onRequest: true, bySegment: true },
  removable: true,
  answered: {
    item: { always: { pci_segment: 0, offload_tso: true, offload_ufo: true, offload_csum: true } },
  },
  hotAdd: hotAdd({
    route: 'vm.add-net',
    request: NetConfig,
    texts: hotAddTexts('network device', 'device'),
    inContract: true,
    command: {
      usage: '<net_config>',
      summary: 'Add network device',
      noun: 'network',
      randomMac: 'mac',
    },
    descriptors: { member: 'fd', apply: withDescriptors },
  }),
  editable: [
    ...['tap', 'ip', 'mask', 'mac', 'host_mac', 'fd', 'fds', 'forwards'],
    ...['rate_limiter_config', 'pci_segment'],
  ],
  unsaved: ({ vhost_user: served }) => (served ? 'its vhost-user back-end has state of its own' : undefined),
  check: checkNet,
  plan: planNet,
});
