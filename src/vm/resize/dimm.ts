import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { SINGLE_ZONE, zonesOf } from '../../devices/memory/zones.ts';
import { DIMMS_MAX, MEMORY_BLOCK, type MemoryConfig } from '../../devices/memory/config.ts';
import { ramObject, type RamRegion } from '../../devices/memory/plan.ts';
import type { Step } from '../../devices/common/step.ts';
import { nodeOfZone } from '../../plan/memory-layout.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { addSteps } from '../../qemu/qmp/steps.ts';
import type { Machine } from '../machine.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/** @throws ApiError `invalid-config` where a DIMM for the difference cannot be added */
export function checkDimm(desired: number, memory: MemoryConfig, machine: Machine): void {
  const now = currentRam(machine);
  const page = memory.hugepage_size ?? PAGE_BYTES;
  if (desired === 0 || desired % page !== 0) {
    throw refusal(`must be a multiple of ${page} above 0, got ${desired}`);
  }
  // less than now is for the next boot
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
    throw refusal(`the ${DIMMS_MAX} DIMMs that a machine can be given are used up; vm.reboot begins anew`);
  }
}

/**
 * Adds a DIMM of what is missing to the desired RAM. A guest that has more already keeps it until the next boot, as by
 * the original: a DIMM is not taken away.
 */
export async function addDimm(desired: number, config: VmConfig, machine: Machine): Promise<void> {
  const size = desired - currentRam(machine);
  if (size <= 0) return;
  const { qmp } = machine.qemu;
  const steps = planDimm(machine.dimms.length, size, config);
  await addSteps(qmp, onBlock(steps, await endOfMemoryDevices(qmp)));
  machine.dimms.push(size);
}

/** Where the last of the memory devices ends that QEMU has; 0 where there are none. */
async function endOfMemoryDevices(qmp: Qmp): Promise<number> {
  const devices = await qmp.execute('query-memory-devices');
  return Math.max(0, ...devices.map(({ address, size }) => address + size));
}

/** QEMU would put a DIMM right behind a pmem device of an odd size, and the guest would not take it. */
function onBlock(steps: readonly Step[], end: number): readonly Step[] {
  if (end % MEMORY_BLOCK === 0) return steps;
  const addr = Math.ceil(end / MEMORY_BLOCK) * MEMORY_BLOCK;
  return steps.map((step) => (step.kind === 'device' ? { ...step, props: { ...step.props, addr } } : step));
}

/** RAM of this life of the machine, in `bytes`. */
function currentRam({ bootConfig, dimms }: Machine): number {
  return dimms.reduce((total, size) => total + size, bootConfig.memory.size);
}

/** What QEMU makes for a DIMM: RAM of the kind that the machine has, in the node that the machine's is in. */
export function planDimm(index: number, size: number, config: VmConfig): readonly Step[] {
  const [backing] = zonesOf(config.memory);
  if (backing === undefined) throw new Error('the RAM has a zone');
  const region: RamRegion = { id: `dimm${index}`, size, zones: [SINGLE_ZONE], backing, sparse: false };
  const props = {
    driver: 'pc-dimm',
    id: `dimm${index}.device`,
    memdev: region.id,
    node: nodeOfZone(config, SINGLE_ZONE),
  };
  return [ramObject(region), { kind: 'device', props }];
}

function refusal(reason: string): ApiError {
  return new ApiError('invalid-config', `desired_ram: ${reason}`);
}
