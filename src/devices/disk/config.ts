import {
  bounded,
  beyond,
  defaulted,
  documentedAs,
  formed,
  optional,
  struct,
  worded,
  withoutEffect,
  type ValueOf,
  type Words,
  type WordsForm,
} from '../../schema/field.ts';
import { choice, flag, list, nested, path, readToggle, text, uint } from '../../schema/kinds.ts';
import { AFFINITY_SYNTAX, readAffinity, VirtQueueAffinity } from '../common/host-cpus.ts';
import { pciDeviceId, pciSegment } from '../common/pci.ts';
import { rateLimiterConfig } from '../common/rate-limit.ts';
import { NOT_EMPTY, QUEUES, QUEUE_SIZE } from '../common/limits.ts';

/** Serial number of a disk, in bytes: VIRTIO_BLK_ID_BYTES (virtio 1.2, 5.2.6). */
export const DISK_SERIAL = { maxLength: 20 } as const;

/** A virtio-blk disk: an image on the host, or a vhost-user back-end. */
export interface DiskConfig extends ValueOf<typeof DiskConfig> {}
export const DiskConfig = struct({
  name: 'DiskConfig',
  doc: 'A virtio-blk disk: an image on the host, or a vhost-user back-end',
  aliases: { affinity: 'queue_affinity' },
  keyHints: {
    discard: 'sparse',
    file: 'path',
    filename: 'path',
    format: 'image_type',
    ro: 'readonly',
    type: 'image_type',
    vhost_socket: 'socket',
  },
  fields: {
    // a vhost-user disk has no image
    path: documentedAs('required', optional(path('Image file or block device'))),
    readonly: defaulted(flag('The guest cannot write'), false),
    direct: defaulted(flag('Bypass the host’s page cache (O_DIRECT)'), false),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    num_queues: defaulted(bounded(uint('Queues', { bits: 64 }), QUEUES), 1),
    queue_size: defaulted(
      bounded(uint('Descriptors of a queue; a power of two', { bits: 16 }), QUEUE_SIZE),
      128,
    ),
    vhost_user: defaulted(flag('Served by a vhost-user back-end'), false),
    vhost_socket: worded('socket', optional(path('Socket of the vhost-user back-end'))),
    poll_queue: pollQueue(),
    rate_limiter_config: rateLimiterConfig,
    id: optional(bounded(text('Name of the device', '<id>'), NOT_EMPTY)),
    rate_limit_group: beyond(optional(text('Id of the rate limit group whose limits the disk shares'))),
    disable_io_uring: beyond(
      formed(hiddenWord('disable_io_uring'), defaulted(flag('Never use io_uring for the image'), false)),
    ),
    image_type: beyond(imageType('Format of the image; `Unknown`: detected')),
    serial: beyond(
      optional(bounded(text('Serial number; default: from the image’s place on the host'), DISK_SERIAL)),
    ),
    backing_files: beyond(optional(flag('The image may have backing files in any folder'))),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
    queue_affinity: beyond(
      optional(list(nested(VirtQueueAffinity), (text) => readAffinity('queue_index', text), AFFINITY_SYNTAX)),
    ),
    sparse: beyond(
      optional(
        flag(
          'Blocks that the guest discards are freed in the host’s file system; off: a raw image has all its blocks allocated; default: on',
        ),
      ),
    ),
    lock_granularity: lockGranularity(),
    disable_aio: beyond(
      formed(
        hiddenWord('disable_aio'),
        optional(flag('Never use Linux AIO for the image; without effect: it is never used')),
      ),
    ),
  },
});

function pollQueue() {
  const inner = defaulted(flag('Let a vhost-user back-end poll the queue'), true);
  return formed(
    {
      keys: ['poll_queue'],
      syntax: 'poll_queue=on|off',
      read: (words) => {
        if (words.has('poll_queue') && words.convert('vhost_user', readToggle) !== true) {
          words.warn('poll_queue is only used with vhost_user=on');
        }
        return words.convert('poll_queue', readToggle);
      },
    },
    inner,
  );
}

function lockGranularity() {
  const choices = choice('How an image is locked against other programs', ['ByteRange', 'Full'], {
    aliases: { 'byte-range': 'ByteRange' },
  });
  return beyond(
    withoutEffect(optional(choices), (value) =>
      value === 'Full'
        ? 'QEMU locks ranges of bytes; a lock of the whole file conflicts with them all the same'
        : undefined,
    ),
  );
}

/** Cloud Hypervisor puts an underscore before these options; users also write the name in JSON. */
function hiddenWord(name: string): WordsForm {
  const keys = [`_${name}`, name];
  const read = (words: Words): unknown =>
    words.convert(`_${name}`, readToggle) ?? words.convert(name, readToggle);
  return { keys, syntax: '', read };
}

/** Returns the member with the format of an image. */
export function imageType(doc: string) {
  return optional(
    choice(doc, ['Raw', 'Qcow2', 'FixedVhd', 'Vhdx', 'Unknown'], { aliases: { vhd: 'FixedVhd' } }),
  );
}
