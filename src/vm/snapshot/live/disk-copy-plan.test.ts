import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../../config/decode-vm-config.ts';
import { placeDevices } from '../../../plan/placement.ts';
import { planLaunch } from '../../launch/planned-machine.ts';
import { fileOfDisk, planDiskCopies } from './disk-copy-plan.ts';

const IMAGE = { serial: 's', aio: 'threads', layers: [{ path: '/d', driver: 'raw', isDevice: false }] };
const OVERLAY = {
  ...IMAGE,
  layers: [
    { path: '/o', driver: 'qcow2', isDevice: false },
    { path: '/b', driver: 'raw', isDevice: false },
  ],
};

/** Returns the copies of a machine whose devices have the given host facts, by id. */
function copiesOf(devices: object, facts: Readonly<Record<string, object>>) {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, ...devices });
  const layout = placeDevices(config);
  const { deviceSteps } = planLaunch(
    { config, bootConfig: config, layout, acpiPatch: undefined },
    {
      accelerator: { name: 'tcg', properties: {}, skipsTimerCheck: false },
      kernel: { kind: 'linux', path: '/k' },
      initramfs: undefined,
      facts: new Map(Object.entries(facts)),
    },
  );
  return planDiskCopies({ layout, deviceSteps: new Map(deviceSteps) });
}

test('disks that the guest can write to are copied, in their formats', () => {
  const disks = [
    { path: '/d', id: 'a' },
    { path: '/r', id: 'b', readonly: true },
    { path: '/o', id: 'c' },
  ];
  const copies = copiesOf({ disks }, { a: IMAGE, b: IMAGE, c: OVERLAY });
  assert.deepEqual(copies, [
    {
      id: 'a',
      file: 'disk-a.raw',
      disk: { image: 'na', format: 'raw', top: 'na', user: { device: 'na' } },
    },
    {
      id: 'c',
      file: 'disk-c.qcow2',
      disk: { image: 'nc', format: 'qcow2', top: 'nc', user: { device: 'nc' } },
    },
  ]);
});

test('a limited disk is copied below its limits, which keep their properties', () => {
  const bucket = { size: 1000, refill_time: 100 };
  const disks = [{ path: '/d', id: 'a', rate_limiter_config: { bandwidth: bucket, ops: bucket } }];
  const [copy] = copiesOf({ disks }, { a: IMAGE });
  assert.equal(copy?.disk.image, 'na');
  assert.ok(copy !== undefined && 'limit' in copy.disk.user);
  const { limit } = copy.disk.user;
  assert.equal(limit.driver, 'throttle');
  assert.equal(limit['file'], 'na');
  assert.notEqual(copy.disk.top, limit['node-name']);
});

test('devices whose data QEMU cannot copy are named', () => {
  const socket = { vhost_user: true, vhost_socket: '/s', id: 'v' };
  const memory = { size: 2 ** 28, shared: true };
  assert.throws(
    () => copiesOf({ memory, disks: [socket] }, { v: { frontEnd: '/front' } }),
    /disk v cannot be copied: a vhost-user back-end/,
  );
});

test('the name of a copy is safe, and different ids have different names', () => {
  assert.equal(fileOfDisk('_disk0', 'qcow2'), 'disk-_disk0.qcow2');
  assert.equal(fileOfDisk('../a b%', 'raw'), 'disk-..%2Fa%20b%25.raw');
  assert.equal(fileOfDisk('ü', 'raw'), 'disk-%C3%BC.raw');
  const long = ['x', 'y'].map((end) => fileOfDisk(`${'é'.repeat(300)}${end}`, 'raw'));
  assert.equal(new Set(long).size, 2);
  for (const name of long) assert.ok(Buffer.byteLength(name) <= 255, `${name.length}`);
});
