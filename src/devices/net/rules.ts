import { isPowerOfTwo } from '../../util/power-of-two.ts';
import {
  SHARED_MEMORY_NEEDED,
  SOCKET_NEEDED,
  TOO_MANY_QUEUES,
  type Report,
  type RuleContext,
} from '../common/rules.ts';
import { INTERFACE_NAME, NET_QUEUE_SIZE, NET_QUEUES, UNICAST_MAC, type NetConfig } from './config.ts';
import { queuePairs } from './plan.ts';

/** Largest descriptor of a standard stream, which is never a TAP. */
const STANDARD_STREAMS_LAST = 2;

/** Checks a network interface and the members of its back-end. */
export function checkNet(net: NetConfig, { place, bootVcpus, sharesRam, report }: RuleContext): void {
  if (net.vhost_user && !sharesRam) report(place, SHARED_MEMORY_NEEDED);
  if (net.vhost_user && net.vhost_socket === undefined) report(place, SOCKET_NEEDED);
  if (net.num_queues < NET_QUEUES.minimum) report(place, 'Number of queues to virtio_net less than 2');
  if (queuePairs(net) > bootVcpus) report(place, TOO_MANY_QUEUES);
  checkQueueSize(place, net.queue_size, report);
  checkDescriptors(place, net, report);
  checkMask(`${place}.mask`, net.mask, report);
  checkMac(`${place}.mac`, net.mac, report);
  checkMac(`${place}.host_mac`, net.host_mac, report);
  checkInterfaceName(`${place}.tap`, net.tap, report);
  checkBackend(place, net, report);
}

function checkQueueSize(place: string, size: number, report: Report): void {
  const { minimum: least, maximum: most } = NET_QUEUE_SIZE;
  if (isPowerOfTwo(size) && size >= least && size <= most) return;
  report(`${place}.queue_size`, `must be 256, 512 or 1024, got ${size}`);
}

function checkDescriptors(place: string, { fd, num_queues: queues }: NetConfig, report: Report): void {
  if (fd === undefined) return;
  if (fd.length * 2 !== queues) {
    report(place, 'Number of queues to virtio_net does not match the number of input FDs');
  }
  if (fd.some((one) => one <= STANDARD_STREAMS_LAST)) report(place, 'Reserved fd number (<= 2)');
}

/** Checks that no bit of a netmask is 1 after one that is 0; the kernel refuses other masks. */
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

/** Checks that the kernel accepts the name and does not read it as a template (`tap%d`). */
function checkInterfaceName(place: string, name: string | undefined, report: Report): void {
  if (name === undefined) return;
  if (new TextEncoder().encode(name).length > INTERFACE_NAME.maxLength) {
    report(place, `"${name}" is longer than ${INTERFACE_NAME.maxLength} bytes`);
  } else if (!new RegExp(INTERFACE_NAME.pattern).test(name) || name === '.' || name === '..') {
    report(place, `"${name}" is no name of an interface`);
  }
}

/** Checks that no member is given that only another back-end uses. */
function checkBackend(place: string, net: NetConfig, report: Report): void {
  const [name, unused] = unusedMembers(net);
  for (const member of unused) {
    if (net[member] !== undefined) report(`${place}.${member}`, `has no effect with ${name}`);
  }
  if (net.backend !== 'user') return;
  if (net.vhost_user) report(`${place}.backend`, 'user has no effect with vhost_user');
  if (queuePairs(net) > 1) {
    report(`${place}.num_queues`, 'backend user has one pair of queues: must be 2');
  }
}

type BackendMember = 'tap' | 'host_mac' | 'fd' | 'forwards' | 'vhost_socket' | 'rate_limiter_config';

/** Returns the back-end's name in messages, and the members that it does not use. */
function unusedMembers(net: NetConfig): readonly [string, readonly BackendMember[]] {
  if (net.vhost_user) return ['vhost_user', ['fd', 'forwards', 'rate_limiter_config']];
  if (net.backend === 'user') {
    return ['backend user', ['tap', 'host_mac', 'fd', 'vhost_socket', 'rate_limiter_config']];
  }
  if (net.fd !== undefined) return ['fd', ['tap', 'host_mac', 'vhost_socket', 'forwards']];
  return ['a TAP', ['vhost_socket', 'forwards']];
}
