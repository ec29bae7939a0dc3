import assert from 'node:assert/strict';
import { test } from 'node:test';
import { propsOf, stepsOf } from '../common/test-kit.ts';
import { net } from './index.ts';

const facts = { mac: '12:34:56:78:90:ab', fds: undefined };

test('offloads that are off are not offered to the guest', () => {
  const off = (json: object): string[] => {
    const props = propsOf(stepsOf(net, { backend: 'user', ...json }, { facts }), 'virtio-net-pci');
    return Object.keys(props).filter(
      (name) => /tso|uso|ufo|ecn|csum|offloads/.test(name) && props[name] === false,
    );
  };
  assert.deepEqual(off({ offload_tso: true }), []);
  assert.deepEqual(off({ offload_tso: false }).toSorted(), [
    ...['guest_ecn', 'guest_tso4', 'guest_tso6', 'host_ecn', 'host_tso4', 'host_tso6'],
  ]);
  assert.deepEqual(off({ offload_ufo: false }).toSorted(), [
    ...['guest_ufo', 'guest_uso4', 'guest_uso6', 'host_ufo', 'host_uso'],
  ]);
  // a segment that the host cuts needs new checksums
  assert.equal(off({ offload_csum: false }).length, 14);
});

test('an odd queue of a network has no pair and is left out', () => {
  const propsFor = (num_queues: number) =>
    propsOf(stepsOf(net, { num_queues }, { facts: { ...facts, fds: [7] } }), 'virtio-net-pci');
  assert.deepEqual([propsFor(3)['mq'], propsFor(3)['vectors']], [false, 4]);
  assert.deepEqual([propsFor(5)['mq'], propsFor(5)['vectors']], [true, 6]);
});

test('each kind of back-end of a network is one netdev', () => {
  const netdevOf = (json: object, more: object = {}) =>
    stepsOf(net, json, { facts: { ...facts, ...more } }).find(({ kind }) => kind === 'netdev');
  assert.deepEqual(netdevOf({}, { fds: [7, 8] }), {
    kind: 'netdev',
    props: { type: 'tap', id: 'x' },
    fds: [7, 8],
  });
  assert.deepEqual(netdevOf({ vhost_user: true, vhost_socket: '/s' }, { frontEnd: '/f' }), {
    kind: 'netdev',
    props: { type: 'vhost-user', id: 'x', chardev: 'x.socket', queues: 1 },
  });
  const forwards = [{ protocol: 'udp', host_address: '127.0.0.1', host_port: 53, guest_port: 5353 }];
  assert.deepEqual(netdevOf({ backend: 'user', ip: '10.1.2.3' }, { forwards }), {
    kind: 'netdev',
    props: {
      id: 'x',
      type: 'user',
      net: '10.1.2.0/255.255.255.0',
      host: '10.1.2.3',
      hostfwd: [{ str: 'udp:127.0.0.1:53-:5353' }],
    },
  });
});
