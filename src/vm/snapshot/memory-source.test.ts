import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { placeDevices } from '../../plan/placement.ts';
import { planLaunch } from '../launch/planned-machine.ts';
import { withMemorySource } from './memory-source.ts';

interface Case {
  readonly accelerator: 'tcg' | 'kvm';
  readonly mapped?: boolean;
  readonly memory?: object;
}

/** Returns true if QEMU may have huge pages for a VM that is restored from a snapshot. */
function hasHugePages({ accelerator, mapped = true, memory = {} }: Case): boolean {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, memory: { size: 2 ** 28, ...memory } });
  const planned = planLaunch(
    { config, bootConfig: config, layout: placeDevices(config), acpiPatch: undefined },
    {
      accelerator: { name: accelerator, properties: {}, skipsTimerCheck: false },
      kernel: { kind: 'linux', path: '/k', entry: 0x100_0000 },
      initramfs: undefined,
      facts: new Map(),
    },
  );
  const ram = [{ id: 'ram', length: 2 ** 28, path: '/snapshot', offset: 0 }];
  const source = { mapped: mapped ? ram : [], copied: mapped ? [] : ram };
  const files = { fds: new Map<string, number>() };
  return withMemorySource(planned, source, files).plan.hugePages;
}

test('QEMU has no huge pages for an emulated guest whose RAM is mapped from a snapshot', () => {
  assert.equal(hasHugePages({ accelerator: 'tcg' }), false);
  assert.equal(hasHugePages({ accelerator: 'tcg', mapped: false }), true);
  assert.equal(hasHugePages({ accelerator: 'kvm' }), true);
  assert.equal(hasHugePages({ accelerator: 'kvm', memory: { thp: false } }), false);
});
