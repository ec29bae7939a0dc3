import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../../config/decode-vm-config.ts';
import type { Step } from '../../../devices/common/step.ts';
import { placeDevices } from '../../../plan/placement.ts';
import { planLaunch } from '../../launch/planned-machine.ts';
import { reasonAgainstTwin, reasonToCopy } from './reason-to-copy.ts';
import { planTwin, withInheritedTaps } from './twin-plan.ts';

const DISK_FACTS = {
  layers: [{ path: '/d', driver: 'raw', isDevice: false }],
  serial: 's',
  aio: 'threads',
};
const FACTS = { mac: '02:00:00:00:00:01', fds: [11, 12], frontEnd: '/front' };

/** Plans a machine with a disk `d` and a network `n`, if the configuration has them. */
function planned(more: object) {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, ...more });
  const layout = placeDevices(config);
  const facts = new Map(
    layout.placements.map(({ id, device }) => [id, device.member === 'disks' ? DISK_FACTS : FACTS]),
  );
  return planLaunch(
    { config, bootConfig: config, layout, acpiPatch: undefined },
    {
      accelerator: { name: 'tcg', properties: {}, skipsTimerCheck: false },
      kernel: { kind: 'linux', path: '/k' },
      initramfs: undefined,
      facts,
    },
  );
}

function reasonOf(more: object, changes: Partial<Parameters<typeof reasonToCopy>[0]> = {}) {
  const { layout, deviceSteps, config, bootConfig } = planned(more);
  const idle = { detaching: new Map(), detachingVcpus: new Map(), ejected: new Set<never>() };
  return reasonToCopy({ layout, deviceSteps: new Map(deviceSteps), config, bootConfig, ...idle, ...changes });
}

test('the RAM of a machine with disks and TAPs can be frozen', () => {
  const more = { disks: [{ path: '/d', id: 'd' }], net: [{ id: 'n', tap: 't' }], watchdog: true };
  assert.equal(reasonOf(more), undefined);
  assert.equal(reasonOf({ memory: { size: 2 ** 28, hotplug_size: 2 ** 30 } }), undefined);
});

test('a machine whose RAM cannot be frozen has the reason, with the device', () => {
  const size = 2 ** 28;
  for (const [more, reason] of [
    [{ vsock: { cid: 3, socket: '/s' } }, /^vsock _?_vsock\w*: its back-end needs shared memory$/],
    [{ memory: { size, shared: true } }, /^memory: it is shared/],
    [{ memory: { size, hugepages: true } }, /^memory: it is in huge pages/],
    [{ memory: { size, mergeable: true } }, /^memory: it has no file/],
    [
      { memory: { size: 0, zones: [{ id: 'z', size, file: '/zone', shared: true }] } },
      /^memory: it is shared/,
    ],
    [
      { memory: { size, hotplug_method: 'VirtioMem', hotplug_size: size } },
      /: the guest can return its memory$/,
    ],
    [{ balloon: { size: 0, free_page_reporting: true } }, /^balloon \w+: the guest reports free pages$/],
    [{ gdb: true }, /^gdb: /],
  ] as const) {
    assert.match(reasonOf(more) ?? 'none', reason, JSON.stringify(more));
  }
});

test('a machine that can only continue in its own QEMU has the reason', () => {
  const user = { net: [{ id: 'n', backend: 'user' }] };
  const variables = { payload: { firmware: '/f', firmware_vars: '/v' }, kernel: undefined };
  for (const [more, reason] of [
    [user, /^net n: connections of a user-mode network/],
    [variables, /^firmware_vars: the file is locked/],
  ] as const) {
    const machine = planned(more);
    assert.match(reasonAgainstTwin({ ...machine, deviceSteps: new Map(machine.deviceSteps) }) ?? '', reason);
    assert.equal(reasonOf(more), undefined);
  }
  const machine = planned({ net: [{ id: 'n', tap: 't' }] });
  assert.equal(reasonAgainstTwin({ ...machine, deviceSteps: new Map(machine.deviceSteps) }), undefined);
});

test('a device that the guest is about to release would be missing in one of the two', () => {
  assert.match(
    reasonOf({}, { detaching: new Map([['d', 0]]) }) ?? '',
    /^d: the guest is about to release it/,
  );
});

test('the twin maps the RAM privately, and gets TAPs only when the other QEMU is stopped', () => {
  const machine = planned({
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    net: [{ id: 'n', tap: 't', num_queues: 4 }],
  });
  const mapped = [{ id: 'ram', length: 2 ** 29, path: 'ram ram', offset: 4096 }];
  const facts = { mapped, files: new Map([['ram ram', 20]]), endedBursts: new Set<string>() };
  const { planned: twin, nets } = planTwin(machine, facts);
  const ram = twin.plan.steps.find((step) => step.kind === 'object' && step.props.id === 'ram');
  assert.ok(ram?.kind === 'object');
  const { share, readonly, offset, 'mem-path': path } = ram.props;
  assert.deepEqual([share, readonly, offset, path], [false, true, 4096, 'ram ram']);
  assert.equal(twin.plan.continues, true);
  assert.ok(!twin.plan.steps.some(isNet));
  assert.deepEqual(new Set(twin.plan.inherited.values()), new Set([11, 12, 20]));
  const numbers = [...twin.plan.inherited.keys()];
  const [backend, device] = withInheritedTaps(nets, (name) => 100 + numbers.indexOf(name));
  assert.ok(backend?.kind === 'netdev' && backend.fds === undefined);
  assert.equal(backend.props['fds'], '101:102');
  assert.equal(device?.kind, 'device');
});

function isNet(step: Step): boolean {
  return step.kind === 'netdev' || (step.kind === 'device' && step.props.driver === 'virtio-net-pci');
}

test('a one-time burst that has ended does not start again', () => {
  const bucket = { size: 100, one_time_burst: 1000, refill_time: 100 };
  const limited = { path: '/d', id: 'd', rate_limiter_config: { ops: bucket } };
  const machine = planned({ disks: [limited] });
  const group = machine.plan.steps.find((step) => step.kind === 'object' && step.burst !== undefined);
  assert.ok(group?.kind === 'object');
  const limitsWith = (ended: readonly string[]): unknown => {
    const facts = { mapped: [], files: new Map(), endedBursts: new Set(ended) };
    const { steps } = planTwin(machine, facts).planned.plan;
    const now = steps.find((step) => step.kind === 'object' && step.props.id === group.props.id);
    return now?.kind === 'object' ? now.props : undefined;
  };
  assert.deepEqual(limitsWith([]), group.props);
  assert.deepEqual(limitsWith([group.props.id]), { ...group.props, limits: group.burst?.lasting });
});
