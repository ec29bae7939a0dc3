import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice, hotAdd, hotAddTexts } from '../device.ts';
import { FS_CACHE_SIZE, FsConfig } from './config.ts';
import { planFs } from './plan.ts';
import { checkFs, checkTags } from './rules.ts';

export const fs = defineDevice({
  member: 'fs',
  field: optional(list(nested(FsConfig))),
  struct: FsConfig,
  many: true,
  order: { slot: 140, config: 100, words: 50, route: 40, command: 30 },
  flag: 'fs',
  ids: { prefix: '_fs' },
  takesSlot: true,
  behindIommu: { bySegment: true },
  removable: true,
  answered: { item: { always: { pci_segment: 0 }, never: { dax: true, cache_size: FS_CACHE_SIZE } } },
  hotAdd: hotAdd({
    route: 'vm.add-fs',
    request: FsConfig,
    texts: hotAddTexts('virtio-fs device', 'device', 'virtio-fs'),
    inContract: true,
    command: { usage: '<fs_config>', summary: 'Add virtio-fs backed fs device', noun: 'filesystem' },
  }),
  editable: ['directory', 'readonly', 'pci_segment'],
  unsaved: ({ directory }) => (directory === undefined ? 'its daemon has state of its own' : undefined),
  check: checkFs,
  checkList: checkTags,
  plan: planFs,
});
