import type { VmmUsage } from '../../api/replies.ts';
import { processUsage, type ProcessUsage } from '../../host/system/process-usage.ts';
import type { VmmState } from '../vmm-state.ts';

const NO_USE: ProcessUsage = { cpuSeconds: 0, residentBytes: 0 };

/** Returns the CPU time and memory of the VMM and of QEMU. */
export async function usageOf({ vm }: VmmState): Promise<VmmUsage> {
  const pid = vm?.booted?.machine.qemu.pid;
  const [vmm = NO_USE, qemu] = await Promise.all([
    processUsage(process.pid),
    pid === undefined ? undefined : processUsage(pid),
  ]);
  return {
    time_ms: Math.round(performance.now()),
    vmm: useOf(vmm),
    qemu: qemu === undefined ? undefined : useOf(qemu),
  };
}

function useOf({ cpuSeconds, residentBytes }: ProcessUsage): VmmUsage['vmm'] {
  return { cpu_ms: Math.round(cpuSeconds * 1000), resident_bytes: residentBytes };
}
