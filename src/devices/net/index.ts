import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { NetConfig } from './config.ts';
import { planNet } from './plan.ts';

export const net = defineDevice({
  member: 'net',
  field: optional(list(nested(NetConfig))),
  struct: NetConfig,
  many: true,
  flag: 'net',
  ids: { prefix: '_net' },
  takesSlot: true,
  removable: true,
  editable: [
    ...['tap', 'ip', 'mask', 'mac', 'host_mac', 'fd', 'fds', 'forwards'],
    ...['rate_limiter_config', 'pci_segment'],
  ],
  unsaved: ({ vhost_user: served }) => (served ? 'its vhost-user back-end has state of its own' : undefined),
  plan: planNet,
});
