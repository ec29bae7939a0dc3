/** Typed reads of a running VM, through the SDK's client. */
import assert from 'node:assert/strict';
import type { VmCounters, VmInfo, VmState } from '../../src/api/replies.ts';
import type { TestVmm } from './vmm.ts';

/** Returns the answer of vm.info. Rejects where there is no VM. */
export function infoOf(vmm: TestVmm): Promise<VmInfo> {
  return vmm.client.call('vm.info');
}

/** Returns the state in vm.info. */
export async function stateOf(vmm: TestVmm): Promise<VmState> {
  return (await infoOf(vmm)).state;
}

/** Returns `memory_actual_size` in vm.info: RAM of the guest without its balloon, in `bytes`. */
export async function actualSizeOf(vmm: TestVmm): Promise<number> {
  return (await infoOf(vmm)).memory_actual_size ?? Number.NaN;
}

/** Returns the answer of vm.counters. */
export function countersOf(vmm: TestVmm): Promise<VmCounters> {
  return vmm.client.call('vm.counters');
}

/** Returns the path of a running VM's PTY. */
export async function ptyOf(vmm: TestVmm, which: 'serial' | 'console' = 'serial'): Promise<string> {
  const info = await infoOf(vmm);
  const path = info.config[which]?.file;
  assert.ok(path !== undefined, `vm.info shows no PTY for ${which}: ${JSON.stringify(info)}`);
  return path;
}
