import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { net } from './index.ts';

test('queues of a network are pairs that the VM has vCPUs for', () => {
  expectProblems(net, [
    ['defaults', {}, []],
    ['one queue', { num_queues: 1 }, ['net[0]: Number of queues to virtio_net less than 2']],
    [
      'more pairs than vCPUs',
      { num_queues: 4 },
      ['net[0]: Number of vCPUs is insufficient for number of queues'],
    ],
    ['an odd count', { num_queues: 3 }, []],
  ]);
});

test('queue sizes are powers of two that QEMU accepts', () => {
  for (const size of [256, 512, 1024]) expectProblems(net, [[String(size), { queue_size: size }, []]]);
  for (const size of [0, 128, 300, 2048, 32_768]) {
    const problem = `net[0].queue_size: must be 256, 512 or 1024, got ${size}`;
    expectProblems(net, [[String(size), { queue_size: size }, [problem]]]);
  }
});

test('descriptors are one for each pair of queues, and none of the standard streams', () => {
  expectProblems(
    net,
    [
      [
        'descriptors for other queues',
        { fd: [3, 7] },
        ['net[0]: Number of queues to virtio_net does not match the number of input FDs'],
      ],
      ['descriptors', { fd: [3, 7], num_queues: 4 }, []],
      ['a standard stream', { fd: [2] }, ['net[0]: Reserved fd number (<= 2)']],
    ],
    { bootVcpus: 2 },
  );
});

test('a vhost-user network needs shared RAM and a socket', () => {
  const problem =
    'net[0]: Using vhost-user requires using shared memory: set memory.shared (--memory shared=on)';
  expectProblems(net, [['RAM not shared', { vhost_user: true, vhost_socket: '/s' }, [problem]]]);
  expectProblems(
    net,
    [['no socket', { vhost_user: true }, ['net[0]: No socket provided when using vhost-user']]],
    { sharesRam: true },
  );
});

test('addresses and names of networks are what the kernel accepts', () => {
  const multicast = (place: string, mac: string) =>
    `net[0].${place}: ${mac} is a multicast address (the lowest bit of the first byte is 1)`;
  expectProblems(net, [
    [
      'multicast',
      { mac: '01:00:5E:00:00:01', host_mac: 'ff:ff:ff:ff:ff:ff' },
      [multicast('mac', '01:00:5e:00:00:01'), multicast('host_mac', 'ff:ff:ff:ff:ff:ff')],
    ],
    ['zeros', { mac: '00:00:00:00:00:00' }, ['net[0].mac: must not be all zeros']],
    ['a mask with a hole', { mask: '255.0.255.0' }, ['net[0].mask: 255.0.255.0 is no netmask']],
    ['15 bytes', { tap: 'a23456789012345' }, []],
    [
      '16 bytes in 15 letters',
      { tap: 'é23456789012345' },
      ['net[0].tap: "é23456789012345" is longer than 15 bytes'],
    ],
  ]);
  for (const tap of ['a/b', 'a b', 'a%d', '..']) {
    expectProblems(net, [[tap, { tap }, [`net[0].tap: "${tap}" is no name of an interface`]]]);
  }
});

test('members that the back-end of a network does not use are refused', () => {
  const forwards = [{ host_port: 1, guest_port: 2 }];
  expectProblems(
    net,
    [
      ['user', { backend: 'user', forwards, ip: '10.1.2.3', id: 'n' }, []],
      [
        'user with a TAP',
        { backend: 'user', tap: 't', fd: [3, 4], num_queues: 4, rate_limiter_config: {} },
        [
          'net[0].tap: has no effect with backend user',
          'net[0].fd: has no effect with backend user',
          'net[0].rate_limiter_config: has no effect with backend user',
          'net[0].num_queues: backend user has one pair of queues: must be 2',
        ],
      ],
      ['forwards to a TAP', { forwards }, ['net[0].forwards: has no effect with a TAP']],
      ['a name beside descriptors', { fd: [3], tap: 't' }, ['net[0].tap: has no effect with fd']],
    ],
    { bootVcpus: 2 },
  );
});
