import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { placeDevices } from '../../plan/placement.ts';
import { checkSharedRam } from './check-shared-ram.ts';
import { planLaunch, type PlannedMachine } from './planned-machine.ts';
import { restoredPlan } from './restored-plan.ts';

function planned(more: object): PlannedMachine {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, ...more });
  const facts = new Map(placeDevices(config).placements.map(({ id }) => [id, { frontEnd: '/front' }]));
  return planLaunch(
    { config, bootConfig: config, layout: placeDevices(config), acpiPatch: undefined },
    {
      accelerator: { name: 'tcg', properties: {}, skipsTimerCheck: false },
      kernel: { kind: 'linux', path: '/k', entry: 0x100_0000 },
      initramfs: undefined,
      facts,
    },
  );
}

test('a planned machine keeps the steps of each device, the RAM and the entry of its kernel', () => {
  const machine = planned({ rng: { src: '/dev/random' } });
  const rng = machine.deviceSteps.get('_rng') ?? machine.deviceSteps.get('__rng') ?? [];
  assert.ok(rng.length > 0);
  for (const step of rng) assert.ok(machine.plan.steps.includes(step));
  assert.deepEqual(
    machine.ram.regions.map(({ id }) => id),
    ['ram'],
  );
  assert.equal(machine.kernelEntry, 0x100_0000);
  assert.equal(machine.plan.incoming, false);
});

test('a back-end that must see RAM is refused where a memory zone has a private file', () => {
  const vsock = { cid: 3, socket: '/s' };
  const memory = (shared: boolean) => ({
    size: 0,
    zones: [{ id: 'z', size: 2 ** 28, file: '/zone', shared }],
  });
  assert.throws(() => checkSharedRam(planned({ memory: memory(false), vsock })), {
    code: 'failed',
    message: /^vsock _vsock\w*: memory zone z has a file and is not shared$/,
  });
  assert.doesNotThrow(() => checkSharedRam(planned({ memory: memory(true), vsock })));
  assert.doesNotThrow(() => checkSharedRam(planned({ memory: memory(false) })));
});

test('a restored plan waits for a state, with all memory devices at their addresses', () => {
  const machine = planned({
    cpus: { boot_vcpus: 1, max_vcpus: 4 },
    memory: { size: 2 ** 28, hotplug_size: 2 ** 30 },
  });
  const description = {
    vcpus: [0, 1, 3],
    dimms: [2 ** 27],
    memoryAddresses: { 'dimm0.device': 0x1_4000_0000 },
  };
  const { plan } = restoredPlan(machine, description);
  assert.equal(plan.incoming, true);
  assert.equal(plan.smp['cpus'], 2);
  const [dimm] = plan.steps.filter((step) => step.kind === 'device' && step.props.id === 'dimm0.device');
  assert.equal(dimm?.kind === 'device' && dimm.props['addr'], 0x1_4000_0000);
});
