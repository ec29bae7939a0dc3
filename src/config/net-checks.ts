import { INTERFACE_NAME, NET_QUEUES, NET_QUEUE_SIZE, UNICAST_MAC } from '../devices/common/limits.ts';
import type { NetConfig } from '../devices/net/config.ts';
import type { Report } from './checks.ts';
import { isPowerOfTwo } from './numbers.ts';

// the original's words, which its clients may look for
export const SHARED_MEMORY =
  'Using vhost-user requires using shared memory: set memory.shared (--memory shared=on)';
export const TOO_MANY_QUEUES = 'Number of vCPUs is insufficient for number of queues';
export const NO_SOCKET = 'No socket provided when using vhost-user';

/** Descriptors of the standard streams. */
const STANDARD_STREAMS = 2;

interface Machine {
  readonly vcpus: number;
  readonly shared: boolean;
  readonly report: Report;
}

/** The rules of a network, and those of its back-ends. */
export function checkNet(place: string, net: NetConfig, { vcpus, shared, report }: Machine): void {
  if (net.vhost_user && !shared) report(place, SHARED_MEMORY);
  if (net.vhost_user && net.vhost_socket === undefined) report(place, NO_SOCKET);
  if (net.num_queues < NET_QUEUES.minimum) report(place, 'Number of queues to virtio_net less than 2');
  if (Math.floor(net.num_queues / 2) > vcpus) report(place, TOO_MANY_QUEUES);
  const { minimum: least, maximum: most } = NET_QUEUE_SIZE;
  if (!isPowerOfTwo(net.queue_size) || net.queue_size < least || net.queue_size > most) {
    report(`${place}.queue_size`, `must be 256, 512 or 1024, got ${net.queue_size}`);
  }
  checkDescriptors(place, net, report);
  checkMask(`${place}.mask`, net.mask, report);
  checkMac(`${place}.mac`, net.mac, report);
  checkMac(`${place}.host_mac`, net.host_mac, report);
  checkName(`${place}.tap`, net.tap, report);
  checkBackend(place, net, report);
}

function checkDescriptors(place: string, { fd, num_queues: queues }: NetConfig, report: Report): void {
  if (fd === undefined) return;
  if (fd.length * 2 !== queues) {
    report(place, 'Number of queues to virtio_net does not match the number of input FDs');
  }
  if (fd.some((one) => one <= STANDARD_STREAMS)) report(place, 'Reserved fd number (<= 2)');
}

/** The kernel takes ones in front and zeros behind them. */
function checkMask(place: string, mask: string, report: Report): void {
  const bits = mask.split('.').map((part) => Number(part).toString(2).padStart(8, '0'));
  if (bits.join('').includes('01')) report(place, `${mask} is no netmask`);
}

function checkMac(place: string, mac: string | undefined, report: Report): void {
  if (mac === undefined) return;
  if (!new RegExp(UNICAST_MAC.pattern).test(mac)) {
    report(place, `${mac} is a multicast address (the lowest bit of the first byte is 1)`);
  }
  if (mac === '00:00:00:00:00:00') report(place, 'must not be all zeros');
}

/** What the kernel would refuse, or take for a template. */
function checkName(place: string, name: string | undefined, report: Report): void {
  if (name === undefined) return;
  if (new TextEncoder().encode(name).length > INTERFACE_NAME.maxLength) {
    report(place, `"${name}" is longer than ${INTERFACE_NAME.maxLength} bytes`);
  } else if (!new RegExp(INTERFACE_NAME.pattern).test(name) || name === '.' || name === '..') {
    report(place, `"${name}" is no name of an interface`);
  }
}

/** Members that only another back-end knows would have no effect. */
function checkBackend(place: string, net: NetConfig, report: Report): void {
  const [name, strange] = backendOf(net);
  for (const member of strange) {
    if (net[member] !== undefined) report(`${place}.${member}`, `has no effect with ${name}`);
  }
  if (net.backend !== 'user') return;
  if (net.vhost_user) report(`${place}.backend`, 'user has no effect with vhost_user');
  if (net.num_queues > 3) report(`${place}.num_queues`, 'backend user has one pair of queues: must be 2');
}

type Member = 'tap' | 'host_mac' | 'fd' | 'forwards' | 'vhost_socket' | 'rate_limiter_config';

function backendOf(net: NetConfig): readonly [string, readonly Member[]] {
  if (net.vhost_user) return ['vhost_user', ['fd', 'forwards', 'rate_limiter_config']];
  if (net.backend === 'user')
    return ['backend user', ['tap', 'host_mac', 'fd', 'vhost_socket', 'rate_limiter_config']];
  if (net.fd !== undefined) return ['fd', ['tap', 'host_mac', 'vhost_socket', 'forwards']];
  return ['a TAP', ['vhost_socket', 'forwards']];
}
