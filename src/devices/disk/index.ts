import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice, hotAdd, hotAddTexts } from '../device.ts';
import { DiskConfig } from './config.ts';
import { planDisk } from './plan.ts';
import { checkDisk } from './rules.ts';

export const disk = defineDevice({
  member: 'disks',
  field: optional(list(nested(DiskConfig))),
  struct: DiskConfig,
  many: true,
  order: { slot: 110, config: 60, words: 10, route: 30, command: 20 },
  flag: 'disk',
  ids: { prefix: '_disk' },
  takesSlot: true,
  behindIommu: { onRequest: true, bySegment: true },
  removable: true,
  answered: { item: { always: { pci_segment: 0, disable_aio: false }, never: { poll_queue: true } } },
  hotAdd: hotAdd({
    route: 'vm.add-disk',
    request: DiskConfig,
    texts: hotAddTexts('disk', 'disk'),
    inContract: true,
    command: { usage: '<disk_config>', summary: 'Add block device', noun: 'disk' },
  }),
  editable: [
    ...['path', 'image_type', 'backing_files', 'direct', 'disable_io_uring', 'disable_aio'],
    ...['lock_granularity', 'rate_limiter_config', 'rate_limit_group', 'queue_affinity', 'pci_segment'],
  ],
  unsaved: ({ vhost_user: served }) => (served ? 'its vhost-user back-end has state of its own' : undefined),
  usesBlockLayer: ({ vhost_user: served }) => !served,
  check: checkDisk,
  plan: planDisk,
});
