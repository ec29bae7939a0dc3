import {
  beyond,
  bounded,
  defaulted,
  documentedAs,
  formed,
  optional,
  struct,
  type Field,
  type ValueOf,
} from '../../schema/field.ts';
import { choice, flag, notation, path, readToggle, size, text, uint } from '../../schema/kinds.ts';
import { parseSize } from '../../schema/size.ts';
import { OptionStringError } from '../../schema/option-string.ts';
import { pciDeviceId, pciSegment } from '../common/pci.ts';
import { NOT_EMPTY, QUEUES, QUEUE_SIZE } from '../common/limits.ts';
import { ID_RANGE_SYNTAX, parseIdRange } from './id-range.ts';

/** Tag of a file system, in bytes: the field `tag` of the device's configuration (virtio 1.2, 5.11.4). */
export const FS_TAG = { minLength: 1, maxLength: 36 } as const;

// the document requires them although each has a default
const required = <F extends Field>(inner: F): F => documentedAs('required', inner);

/** Ways in which a guest caches a directory. */
export const FS_CACHES = ['auto', 'always', 'never'] as const;

/** Size of the cache window if the configuration has none, in `bytes`; reported only. */
export const FS_CACHE_SIZE = 8 * 2 ** 30;

/** A virtio-fs share: a directory of the host, or a vhost-user daemon. */
export interface FsConfig extends ValueOf<typeof FsConfig> {}
export const FsConfig = struct({
  name: 'FsConfig',
  doc: 'A virtio-fs share: a directory of the host, or a vhost-user daemon',
  keyHints: {
    ...{ name: 'tag', mount_tag: 'tag', sock: 'socket', 'socket-path': 'socket' },
    // of QEMU's -virtfs, and of virtiofsd
    ...{ path: 'directory', 'shared-dir': 'directory', shared_dir: 'directory' },
    ...{ dir: 'directory', folder: 'directory', source: 'directory' },
    ...{ ro: 'readonly', 'uid-map': 'uid_map', 'gid-map': 'gid_map' },
  },
  fields: {
    tag: bounded(text('Name by which the guest mounts it', '<tag>'), FS_TAG),
    // the document has no directory, which may be given instead
    socket: documentedAs('required', socket()),
    directory: beyond(
      optional(bounded(path('Directory of the host that the VMM serves, instead of `socket`'), NOT_EMPTY)),
    ),
    readonly: beyond(optional(flag('The guest cannot change the directory; default: off'))),
    cache: beyond(
      optional(
        choice(
          'How long the guest caches: `auto`: 1 s, then it checks; `never`: nothing; `always`: also its writes, if only this guest changes the directory; default: auto',
          FS_CACHES,
        ),
      ),
    ),
    uid_map: beyond(optional(idRange('Users of the guest as users of the host; default: unchanged'))),
    gid_map: beyond(optional(idRange('Groups of the guest as groups of the host; default: unchanged'))),
    xattr: beyond(
      optional(
        flag('The guest can use extended attributes; default: on where the host’s file system has them'),
      ),
    ),
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

/** Members that describe how the VMM serves `directory`. */
export const DIRECTORY_MEMBERS = ['readonly', 'cache', 'uid_map', 'gid_map', 'xattr'] as const;

function socket() {
  return formed(
    {
      keys: ['socket'],
      syntax: 'socket=<path>',
      read: (words) => {
        const value = words.text('socket');
        if (value !== undefined || words.text('directory') !== undefined) return value;
        throw new OptionStringError('socket missing', {
          hint: 'expected directory=<path>, or socket=<path> of a daemon',
        });
      },
    },
    optional(path('Socket of the daemon')),
  );
}

function idRange(doc: string) {
  return notation(`${doc}; \`guest:host:count\``, {
    syntax: ID_RANGE_SYNTAX,
    pattern: '^[0-9]+:[0-9]+:[0-9]+$',
    parse: parseIdRange,
  });
}

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
