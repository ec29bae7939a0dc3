import {
  bounded,
  defaulted,
  documentedAs,
  formed,
  optional,
  struct,
  type Field,
  type ValueOf,
} from '../../schema/field.ts';
import { flag, list, nested, path, readToggle, size, text, uint } from '../../schema/kinds.ts';
import { parseSize } from '../../schema/size.ts';
import { defineDevice, type PlanContext } from '../device.ts';
import type { BackEndFacts } from '../common/vhost-user.ts';
import { onSlot, pciDeviceId, pciSegment } from '../common/pci.ts';
import type { Step } from '../common/step.ts';
import { FS_TAG, NOT_EMPTY, QUEUES, QUEUE_SIZE } from '../common/limits.ts';

// the document requires them although each has a default
const required = <F extends Field>(inner: F): F => documentedAs('required', inner);

/** A virtio-fs share, served by a vhost-user daemon. */
export interface FsConfig extends ValueOf<typeof FsConfig> {}
export const FsConfig = struct({
  name: 'FsConfig',
  doc: 'A virtio-fs share, served by a vhost-user daemon',
  wordsMeant: { name: 'tag', path: 'socket', sock: 'socket' },
  fields: {
    tag: bounded(text('Name by which the guest mounts it', '<tag>'), FS_TAG),
    socket: path('Socket of the daemon'),
    num_queues: required(defaulted(bounded(uint('Request queues', { bits: 64 }), QUEUES), 1)),
    queue_size: required(
      defaulted(bounded(uint('Descriptors of a queue; a power of two', { bits: 16 }), QUEUE_SIZE), 1024),
    ),
    dax: required(
      defaulted(flag('A window in which the guest maps files; accepted and reported only'), true),
    ),
    cache_size: required(cacheSize()),
    id: optional(bounded(text('Name of the device', '<id>'), NOT_EMPTY)),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
  },
});

export const fs = defineDevice({
  member: 'fs',
  field: optional(list(nested(FsConfig))),
  struct: FsConfig,
  many: true,
  flag: 'fs',
  ids: { prefix: '_fs' },
  takesSlot: true,
  removable: true,
  editable: ['pci_segment'],
  unsaved: () => 'its daemon has state of its own',
  plan: planFs,
});

/** The window that `dax` asks for is nothing QEMU has: guests mount without it. */
function planFs(config: FsConfig, at: PlanContext<BackEndFacts>): readonly Step[] {
  const chardev = `${at.qemuId}.socket`;
  return [
    { kind: 'chardev', id: chardev, backend: { type: 'socket', path: at.facts.frontEnd } },
    {
      kind: 'device',
      props: {
        driver: 'vhost-user-fs-pci',
        ...onSlot(at),
        chardev,
        tag: config.tag,
        'num-request-queues': config.num_queues,
        'queue-size': config.queue_size,
      },
    },
  ];
}

function cacheSize() {
  return formed(
    {
      keys: ['cache_size'],
      syntax: 'cache_size=<size>',
      read: (words) => {
        // the original's text says the opposite of what it means, and clients may match it
        if (words.has('cache_size') && words.convert('dax', readToggle) === false) {
          throw new Error('cache_size used with dax=on');
        }
        return words.convert('cache_size', parseSize);
      },
    },
    defaulted(size('Size of the window in `bytes`'), 8 * 2 ** 30),
  );
}
