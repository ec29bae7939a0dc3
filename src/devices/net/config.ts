import {
  bounded,
  beyond,
  defaulted,
  formed,
  optional,
  struct,
  worded,
  type ValueOf,
} from '../../schema/field.ts';
import { choice, flag, ipv4, list, mac, nameOrNone, nested, path, text, uint } from '../../schema/kinds.ts';
import { readIntegers } from '../common/integer-list.ts';
import { PortForward, readForwards } from './port-forward.ts';
import { offloads } from './offloads.ts';
import { pciDeviceId, pciSegment } from '../common/pci.ts';
import { rateLimiterConfig } from '../common/rate-limit.ts';
import { NOT_EMPTY } from '../common/limits.ts';

/** Queues: one for receiving and one for sending at least. */
export const NET_QUEUES = { minimum: 2 } as const;

/** Descriptors of a queue, a power of two: the bounds of QEMU (hw/net/virtio-net.c). */
export const NET_QUEUE_SIZE = { minimum: 256, maximum: 1024 } as const;

/** Name of a network interface of the host, in bytes: IFNAMSIZ (16) without the final NUL, and no template. */
export const INTERFACE_NAME = { maxLength: 15, pattern: '^[^\\x00\\s/:%]*$' } as const;

/** MAC address of one interface: the lowest bit of the first byte marks a multicast address. */
export const UNICAST_MAC = { pattern: '^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$' } as const;

/** A virtio-net interface on a TAP of the host, on descriptors that were passed in, or on a vhost-user back-end. */
export interface NetConfig extends ValueOf<typeof NetConfig> {}
export const NetConfig = struct({
  name: 'NetConfig',
  doc: 'A virtio-net interface: a TAP of the host, passed descriptors, or a vhost-user back-end',
  // Cloud Hypervisor's JSON has `fds`, its document and command line have `fd`
  aliases: { fds: 'fd' },
  keyHints: {
    addr: 'ip',
    fds: 'fd',
    forwards: 'forward',
    hostfwd: 'forward',
    ifname: 'tap',
    macaddr: 'mac',
    model: 'backend',
    netmask: 'mask',
    port: 'forward',
    vhost_socket: 'socket',
  },
  fields: {
    tap: bounded(nameOrNone('Name of the TAP on the host; default: a new TAP', '<name>'), INTERFACE_NAME),
    ip: defaulted(ipv4('Address of the host’s side'), '192.168.249.1'),
    mask: defaulted(ipv4('Netmask of the host’s side'), '255.255.255.0'),
    backend: backend(),
    mac: optional(bounded(mac('MAC address in the guest; default: a random one'), UNICAST_MAC)),
    host_mac: beyond(optional(bounded(mac('MAC address of the TAP on the host'), UNICAST_MAC))),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    num_queues: defaulted(
      bounded(uint('Queues: receiving and sending ones together', { bits: 64 }), NET_QUEUES),
      2,
    ),
    queue_size: defaulted(
      bounded(uint('Descriptors of a queue; a power of two', { bits: 16 }), NET_QUEUE_SIZE),
      256,
    ),
    vhost_user: defaulted(flag('Served by a vhost-user back-end'), false),
    vhost_socket: worded('socket', optional(path('Socket of the vhost-user back-end'))),
    vhost_mode: defaulted(
      vhostMode('Which side listens on the socket: `Client`: the back-end, `Server`: the VMM'),
      'Client',
    ),
    id: optional(bounded(text('Name of the device', '<id>'), NOT_EMPTY)),
    fd: optional(
      list(
        uint('TAP descriptors of this process', { bits: 31, format: 'int32' }),
        readIntegers,
        '[<fd>,<fd>...]',
      ),
    ),
    forwards: beyond(
      worded(
        'forward',
        optional(list(nested(PortForward), readForwards, '[tcp:|udp:][<ipv4>:]<host port>-<guest port>+...')),
      ),
    ),
    mtu: beyond(
      optional(uint('Largest packet in `bytes`, in the guest and on the TAP', { bits: 16, min: 1280 })),
    ),
    rate_limiter_config: rateLimiterConfig,
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
    ...offloads,
  },
});

/** Returns the member `vhost_mode`. Its document has a pattern: for an enumeration, Go's generators would define a second `Client`. */
function vhostMode(doc: string) {
  const modes = ['Client', 'Server'] as const;
  const inner = choice(doc, modes, { document: { type: 'string', default: 'client' } });
  return { ...inner, everything: { type: 'string', pattern: `^(${modes.join('|')})$` } };
}

/** Returns the member `backend`. Its short form on the command line is `user`. */
function backend() {
  const inner = choice('Back-end: a TAP, or `user`: NAT in QEMU, which needs no privileges', ['tap', 'user']);
  return beyond(
    formed(
      {
        keys: ['backend'],
        flags: ['user'],
        syntax: 'user|backend=tap|user',
        read: (words) => (words.has('user') ? 'user' : words.text('backend')),
      },
      defaulted(inner, 'tap'),
    ),
  );
}
