import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../schema/decode.ts';
import { VmConfig } from '../config/vm-config.ts';
import type { OciImage } from '../images/image.ts';
import { RunError } from './errors.ts';
import { createOptionRequest } from './image-vm-options.ts';
import { planSetup, planToolsVm, planVolumes } from './plan-run.ts';

const BOOT = { kernel: '/k', initramfs: '/i', commandLine: 'quiet' };
const PATHS = { console: '/vm/console.sock', serial: '/vm/serial.log' };

function imageWith(layers: number): OciImage {
  return {
    kind: 'oci',
    name: 'app',
    digest: 'sha256:0',
    layers: Array.from({ length: layers }, (_, i) => ({ diffId: `sha256:${i}`, path: `/layers/"${i}" é,` })),
    process: {
      entrypoint: [],
      command: [],
      env: [],
      workingDirectory: '/',
      user: '',
      stopSignal: 'SIGTERM',
      exposedPorts: [],
    },
    labels: {},
  };
}

test('layers are read-only disks in the order of the image, and the VMM accepts the plan', () => {
  const request = createOptionRequest('app', { cpus: 2, memory: 2 ** 28 });
  const config = planToolsVm(request, imageWith(3), { boot: BOOT, paths: PATHS });
  assert.deepEqual(
    config.disks?.map(({ path, readonly, serial }) => [path, readonly, serial]),
    [
      ['/layers/"0" é,', true, 'layer0'],
      ['/layers/"1" é,', true, 'layer1'],
      ['/layers/"2" é,', true, 'layer2'],
    ],
  );
  const decoded = decode(VmConfig, JSON.parse(JSON.stringify(config)));
  assert.deepEqual([decoded.cpus.boot_vcpus, decoded.memory.size], [2, 2 ** 28]);
  assert.deepEqual(planSetup(request, imageWith(3), 'web').root, {
    kind: 'disks',
    serials: ['layer0', 'layer1', 'layer2'],
    // each layer is a whole disk
    partitions: [0, 0, 0],
  });
});

test('volumes and a directory are shares with tags that the guest mounts', () => {
  const volumes = [
    { host: '/a,"é', guest: '/x' },
    { host: '/b', guest: '/y', readOnly: true },
  ];
  const request = createOptionRequest('/root', { volumes });
  const image = { kind: 'directory', name: '/root', path: '/root' } as const;
  const config = planToolsVm(request, image, { boot: BOOT, paths: PATHS });
  assert.deepEqual(
    config.fs?.map(({ tag, directory, readonly }) => [tag, directory, readonly]),
    [
      ['root', '/root', true],
      ['volume0', '/a,"é', false],
      ['volume1', '/b', true],
    ],
  );
  const setup = planSetup(request, image, 'web');
  assert.deepEqual(setup.root, { kind: 'share', tag: 'root' });
  assert.equal(setup.hasVolumes, true);
  assert.deepEqual(planVolumes(request), [
    { tag: 'volume0', path: '/x', isReadOnly: false },
    { tag: 'volume1', path: '/y', isReadOnly: true },
  ]);
});

test('published ports are forwards of user-mode networking; no network, no interface', () => {
  const request = createOptionRequest('app', {
    ports: [{ guestPort: 80 }, { guestPort: 53, protocol: 'udp', hostPort: 5353 }],
  });
  const { net } = planToolsVm(request, imageWith(1), { boot: BOOT, paths: PATHS });
  assert.deepEqual(net?.[0]?.forwards, [
    { protocol: 'tcp', host_address: '127.0.0.1', host_port: 0, guest_port: 80 },
    { protocol: 'udp', host_address: '127.0.0.1', host_port: 5353, guest_port: 53 },
  ]);
  const alone = createOptionRequest('app', { network: 'none' });
  assert.equal(planToolsVm(alone, imageWith(1), { boot: BOOT, paths: PATHS }).net, undefined);
  assert.throws(() => createOptionRequest('app', { network: 'none', ports: [{ guestPort: 80 }] }), RunError);
});

test('an image with more layers than PCI slots is refused by name', () => {
  const request = createOptionRequest('app', {});
  assert.throws(
    () => planToolsVm(request, imageWith(21), { boot: BOOT, paths: PATHS }),
    /image app: it has 21 layers/,
  );
});
