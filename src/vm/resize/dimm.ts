import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { DIMMS_MAX, MEMORY_BLOCK, type MemoryConfig } from '../../devices/memory/config.ts';
import type { Step } from '../../devices/common/step.ts';
import { planDimm } from '../../plan/memory-steps.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { addSteps } from '../../qemu/qmp/steps.ts';
import type { Machine } from '../machine.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/** Checks that a DIMM for the missing RAM can be added. @throws ApiError `invalid-config` */
export function checkDimm(desired: number, memory: MemoryConfig, machine: Machine): void {
  const now = currentRam(machine);
  const page = memory.hugepage_size ?? PAGE_BYTES;
  if (desired === 0 || desired % page !== 0) {
    throw refusal(`must be a multiple of ${page} above 0, got ${desired}`);
  }
  // a smaller size takes effect at the next boot
  if (desired > now) checkGrowth(desired, now, { memory, machine });
}

interface DimmHolder {
  readonly memory: MemoryConfig;
  readonly machine: Machine;
}

function checkGrowth(desired: number, now: number, { memory, machine }: DimmHolder): void {
  const most = machine.bootConfig.memory.size + (memory.hotplug_size ?? 0);
  if (desired > most) {
    const bound =
      memory.hotplug_size === undefined ? 'hotplug_size is not set' : 'size at boot and hotplug_size';
    throw refusal(`must be ${most} at most (${bound}), got ${desired}`);
  }
  if ((desired - now) % MEMORY_BLOCK !== 0) {
    throw refusal(`must be ${now} (what the guest has) and a multiple of 128 MiB, got ${desired}`);
  }
  if (machine.dimms.length >= DIMMS_MAX) {
    throw refusal(
      `the ${DIMMS_MAX} DIMMs that a machine can be given are used up; after vm.reboot it can be given DIMMs again`,
    );
  }
}

/**
 * Adds a DIMM for the missing RAM. If the guest already has more than the desired RAM, it keeps it until the next boot, as in
 * Cloud Hypervisor: DIMMs are not removed.
 */
export async function addDimm(desired: number, config: VmConfig, machine: Machine): Promise<void> {
  const size = desired - currentRam(machine);
  if (size <= 0) return;
  const { qmp } = machine.qemu;
  const steps = planDimm(machine.dimms.length, size, config);
  await addSteps(qmp, onBlock(steps, await endOfMemoryDevices(qmp)));
  machine.dimms.push(size);
}

/** Returns the end of the last memory device in guest memory; 0 if there is none. */
async function endOfMemoryDevices(qmp: Qmp): Promise<number> {
  const devices = await qmp.execute('query-memory-devices');
  return Math.max(0, ...devices.map(({ address, size }) => address + size));
}

/** Returns the steps with an aligned address: by default QEMU puts a DIMM directly behind a pmem device, and the guest rejects it. */
function onBlock(steps: readonly Step[], end: number): readonly Step[] {
  if (end % MEMORY_BLOCK === 0) return steps;
  const addr = Math.ceil(end / MEMORY_BLOCK) * MEMORY_BLOCK;
  return steps.map((step) => (step.kind === 'device' ? { ...step, props: { ...step.props, addr } } : step));
}

/** Returns the RAM that the machine has, in `bytes`. */
function currentRam({ bootConfig, dimms }: Machine): number {
  return dimms.reduce((total, size) => total + size, bootConfig.memory.size);
}

function refusal(reason: string): ApiError {
  return new ApiError('invalid-config', `desired_ram: ${reason}`);
}
