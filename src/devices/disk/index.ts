import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { DiskConfig } from './config.ts';
import { planDisk } from './plan.ts';

export const disk = defineDevice({
  member: 'disks',
  field: optional(list(nested(DiskConfig))),
  struct: DiskConfig,
  many: true,
  flag: 'disk',
  ids: { prefix: '_disk' },
  takesSlot: true,
  removable: true,
  editable: [
    ...['path', 'image_type', 'backing_files', 'direct', 'disable_io_uring', 'disable_aio'],
    ...['lock_granularity', 'rate_limiter_config', 'rate_limit_group', 'queue_affinity', 'pci_segment'],
  ],
  unsaved: ({ vhost_user: served }) => (served ? 'its vhost-user back-end has state of its own' : undefined),
  plan: planDisk,
});
