import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dialectOf } from './dialect.ts';
import { parseVmConfig, type FlagTexts } from './from-words.ts';
import { decodeVmConfig } from './decode-vm-config.ts';

/** The dialect of a VM of the command line. */
const ofWords = (flags: FlagTexts): string => dialectOf(parseVmConfig(flags).config).name;

test('a VM of the command line has the dialect of its words', () => {
  const kernel = { kernel: ['/k'] };
  const contract: FlagTexts[] = [
    {},
    { initramfs: ['/i'], cmdline: ['a'], disk: ['path=/a,poll_queue=on'], watchdog: [], balloon: ['size=0'] },
    { net: ['user,forward=1-2'], cpus: ['boot=1,kvm_hyperv=off'], serial: ['tty'], console: ['off'] },
    { net: ['tap=t,host_mac=2e:00:00:00:00:01'], 'memory-zone': ['id=a,size=1G'], memory: ['size=0'] },
  ];
  for (const flags of contract)
    assert.equal(ofWords({ ...kernel, ...flags }), 'contract', JSON.stringify(flags));
  const current: FlagTexts[] = [
    { platform: ['serial_number=a'] },
    { disk: ['path=/a', 'path=/b,serial=s'] },
    { disk: ['path=/a,image_type=raw'] },
    { net: ['tap=t,mtu=1400'] },
    { serial: ['socket=/s'], console: ['off'] },
    { pvpanic: [] },
    { memory: ['size=1G,thp=off'] },
    { 'memory-zone': ['id=a,size=1G,prefault=on'], memory: ['size=0'] },
    // words without a place in the configuration
    { cpus: ['boot=1,core_scheduling=off'] },
    // the result of all flags
    { serial: ['tty'], console: ['tty'] },
    { memory: ['size=1G,hugepages=on'], fs: ['tag=a,socket=/s'] },
  ];
  for (const flags of current)
    assert.equal(ofWords({ ...kernel, ...flags }), 'current', JSON.stringify(flags));
  assert.equal(ofWords({ firmware: ['/f'] }), 'current');
  assert.equal(dialectOf(parseVmConfig(kernel, { members: { gdb: true } }).config).name, 'current');
  const { payload } = parseVmConfig({ ...kernel, initramfs: ['/i'], cmdline: ['a'], pvpanic: [] }).config;
  assert.deepEqual({ ...payload }, { ...payload, kernel: '/k', initramfs: '/i', cmdline: 'a' });
});

test('vhost-user RAM: memory.shared by the contract, huge pages and zones from v28 on', () => {
  const zone = { size: 2 ** 28 };
  const memories: [object, shared: boolean, byPages: boolean][] = [
    [{ size: 2 ** 28 }, false, false],
    [{ size: 2 ** 28, shared: true }, true, true],
    [{ size: 2 ** 28, hugepages: true }, false, true],
    [
      {
        size: 0,
        zones: [
          { id: 'a', ...zone, shared: true },
          { id: 'b', ...zone, hugepages: true },
        ],
      },
      false,
      true,
    ],
    [
      {
        size: 0,
        zones: [
          { id: 'a', ...zone, shared: true },
          { id: 'b', ...zone },
        ],
      },
      false,
      false,
    ],
  ];
  const devices = [
    { disks: [{ vhost_user: true, vhost_socket: '/s' }] },
    { net: [{ vhost_user: true, vhost_socket: '/s' }] },
    { fs: [{ tag: 't', socket: '/s' }] },
  ];
  const refuses = (json: object): boolean => {
    try {
      decodeVmConfig(json);
      return false;
    } catch (error) {
      assert.match(String(error), /requires using shared memory/);
      return true;
    }
  };
  for (const device of devices) {
    for (const [memory, shared, byPages] of memories) {
      const what = JSON.stringify([device, memory]);
      assert.equal(refuses({ kernel: { path: '/k' }, ...device, memory }), !shared, what);
      assert.equal(refuses({ payload: { kernel: '/k' }, ...device, memory }), !byPages, what);
    }
  }
});

test('ids of the machine are reserved in each dialect, ids of zones where devices have them', () => {
  const refusal = (form: object, more: object): string => {
    try {
      decodeVmConfig({ ...form, ...more });
      return '';
    } catch (error) {
      return String(error);
    }
  };
  const [kernel, payload] = [{ kernel: { path: '/k' } }, { payload: { kernel: '/k' } }];
  const disk = (id: string): object => ({ disks: [{ path: '/d', id }] });
  assert.match(refusal(kernel, disk('_rng')), /"_rng" is reserved/);
  assert.equal(refusal(payload, disk('_rng')), '');
  for (const form of [kernel, payload]) {
    for (const id of ['__rng', '__mine', '_virtio-pci-a']) assert.match(refusal(form, disk(id)), /reserved/);
  }
  const growing = { memory: { size: 2 ** 28, hotplug_method: 'VirtioMem', hotplug_size: 2 ** 28 } };
  assert.match(refusal(payload, { ...disk('mem0'), ...growing }), /"mem0" is taken by a memory zone/);
  assert.equal(refusal(payload, disk('mem0')), '');
  assert.equal(refusal(kernel, { ...disk('mem0'), ...growing }), '');
});
