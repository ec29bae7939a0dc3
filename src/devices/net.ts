import { beyond, defaulted, later, optional, struct, worded, type ValueOf } from '../schema/field.ts';
import { choice, flag, ipv4, list, mac, nameOrNone, nested, path, text, uint } from '../schema/kinds.ts';
import { defineDevice } from './device.ts';
import { readIntegers } from './integers.ts';
import { rateLimiterConfig } from './rate-limit.ts';

/** A virtio-net interface on a TAP of the host, on descriptors that were passed in, or on a vhost-user back-end. */
export interface NetConfig extends ValueOf<typeof NetConfig> {}
export const NetConfig = struct({
  name: 'NetConfig',
  doc: 'A virtio-net interface: a TAP of the host, passed descriptors, or a vhost-user back-end',
  // the original's JSON says `fds` where the document (and the command line) says `fd`
  aliases: { fds: 'fd' },
  fields: {
    tap: nameOrNone('Name of the TAP on the host; default: one of its own', '<name>'),
    ip: defaulted(ipv4('Address of the host’s side'), '192.168.249.1'),
    mask: defaulted(ipv4('Netmask of the host’s side'), '255.255.255.0'),
    mac: optional(mac('MAC address in the guest; default: a random one')),
    host_mac: beyond(optional(mac('MAC address of the TAP on the host'))),
    iommu: later(defaulted(flag('Behind the virtual IOMMU'), false)),
    num_queues: defaulted(uint('Queues: receiving and sending ones together', { bits: 64 }), 2),
    queue_size: defaulted(uint('Descriptors of a queue; a power of two', { bits: 16 }), 256),
    vhost_user: later(defaulted(flag('Served by a vhost-user back-end'), false)),
    vhost_socket: worded('socket', later(optional(path('Socket of the vhost-user back-end')))),
    vhost_mode: later(
      defaulted(
        choice('Who listens on the socket: `Client`: the back-end, `Server`: we', ['Client', 'Server'], {
          document: { type: 'string', default: 'client' },
        }),
        'Client',
      ),
    ),
    id: optional(text('Name of the device', '<id>')),
    fd: later(
      optional(
        list(
          uint('TAP descriptors of this process', { bits: 31, format: 'int32' }),
          readIntegers,
          '<fd>:<fd>...',
        ),
      ),
    ),
    rate_limiter_config: later(rateLimiterConfig),
  },
});

export const net = defineDevice({
  member: 'net',
  field: later(optional(list(nested(NetConfig)))),
  struct: NetConfig,
  many: true,
  flag: 'net',
  ids: { prefix: '_net' },
  takesSlot: true,
  removable: true,
  unsaved: ({ vhost_user: served }) => (served ? 'its vhost-user back-end has state of its own' : undefined),
});
