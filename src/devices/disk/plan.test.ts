import assert from 'node:assert/strict';
import { test } from 'node:test';
import { propsOf, stepsOf } from '../common/test-kit.ts';
import { disk } from './index.ts';

const facts = { layers: [{ path: '/d', driver: 'raw', isDevice: false }], serial: 'host', aio: 'threads' };

const threadsOf = (json: object) => {
  const steps = stepsOf(disk, json, { facts });
  const ids = steps.flatMap((step) =>
    step.kind === 'object' && step.props['qom-type'] === 'iothread' ? [step.props.id] : [],
  );
  return { ids, mapping: propsOf(steps, 'virtio-blk-pci')['iothread-vq-mapping'] };
};

test('a queue with host CPUs has its own thread, the other queues of a disk share one', () => {
  const queue_affinity = [{ queue_index: 1, host_cpus: [0] }];
  assert.deepEqual(threadsOf({ path: '/d', num_queues: 3, queue_affinity }), {
    ids: ['x.q1', 'x.q'],
    mapping: [
      { iothread: 'x.q1', vqs: [1] },
      { iothread: 'x.q', vqs: [0, 2] },
    ],
  });
});

test('a queue that the disk does not have gets no thread', () => {
  const affinity = [0, 1].map((queue_index) => ({ queue_index, host_cpus: [0] }));
  const one = threadsOf({ path: '/d', queue_affinity: affinity });
  assert.deepEqual(one.mapping, [{ iothread: 'x.q0', vqs: [0] }]);
  const none = threadsOf({ path: '/d', queue_affinity: affinity.slice(1) });
  assert.deepEqual(none, { ids: [], mapping: undefined });
});

test('the serial number of the configuration replaces that of the image', () => {
  const serialOf = (json: object) => propsOf(stepsOf(disk, json, { facts }), 'virtio-blk-pci')['serial'];
  assert.equal(serialOf({ path: '/d' }), 'host');
  assert.equal(serialOf({ path: '/d', serial: 'mine' }), 'mine');
});

test('a vhost-user disk is on its back-end’s socket and never behind the vIOMMU', () => {
  const steps = stepsOf(
    disk,
    { vhost_user: true, vhost_socket: '/s', num_queues: 2, queue_size: 256, iommu: true },
    { facts: { frontEnd: '/run/front-end' }, behindIommu: true },
  );
  assert.deepEqual(steps[0], {
    kind: 'chardev',
    id: 'x.socket',
    backend: { type: 'socket', path: '/run/front-end' },
  });
  assert.deepEqual(propsOf(steps, 'vhost-user-blk-pci'), {
    driver: 'vhost-user-blk-pci',
    id: 'x',
    addr: '5',
    'disable-legacy': 'on',
    chardev: 'x.socket',
    'num-queues': 2,
    'queue-size': 256,
  });
});
