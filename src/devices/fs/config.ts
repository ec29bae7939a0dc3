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
import { flag, path, readToggle, size, text, uint } from '../../schema/kinds.ts';
import { parseSize } from '../../schema/size.ts';
import { pciDeviceId, pciSegment } from '../common/pci.ts';
import { NOT_EMPTY, QUEUES, QUEUE_SIZE } from '../common/limits.ts';

/** Tag of a file system, in bytes: the field `tag` of the device's configuration (virtio 1.2, 5.11.4). */
export const FS_TAG = { minLength: 1, maxLength: 36 } as const;

// the document requires them although each has a default
const required = <F extends Field>(inner: F): F => documentedAs('required', inner);

/** Size of the cache window if the configuration has none, in `bytes`; reported only. */
export const FS_CACHE_SIZE = 8 * 2 ** 30;

/** A virtio-fs share, served by a vhost-user daemon. */
export interface FsConfig extends ValueOf<typeof FsConfig> {}
export const FsConfig = struct({
  name: 'FsConfig',
  doc: 'A virtio-fs share, served by a vhost-user daemon',
  keyHints: { name: 'tag', path: 'socket', sock: 'socket' },
  fields: {
    tag: bounded(text('Name by which the guest mounts it', '<tag>'), FS_TAG),
    socket: path('Socket of the daemon'),
    num_queues: required(defaulted(bounded(uint('Request queues', { bits: 64 }), QUEUES), 1)),
    queue_size: required(
      defaulted(bounded(uint('Descriptors of a queue; a power of two', { bits: 16 }), QUEUE_SIZE), 1024),
    ),
    dax: required(defaulted(flag('A window in which the guest maps files; without effect'), true)),
    cache_size: required(cacheSize()),
    id: optional(bounded(text('Name of the device', '<id>'), NOT_EMPTY)),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
  },
});

function cacheSize() {
  return formed(
    {
      keys: ['cache_size'],
      syntax: 'cache_size=<size>',
      read: (words) => {
        // the text of Cloud Hypervisor, which clients may compare, states the opposite of the rule
        if (words.has('cache_size') && words.convert('dax', readToggle) === false) {
          throw new Error('cache_size used with dax=on');
        }
        return words.convert('cache_size', parseSize);
      },
    },
    defaulted(size('Size of the window in `bytes`'), FS_CACHE_SIZE),
  );
}
