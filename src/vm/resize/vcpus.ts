import { ApiError } from '../../api/errors.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { pinVcpus } from '../affinity/pin-threads.ts';
import { waitWhile } from '../hotplug/release.ts';
import { forgetRemovedVcpus } from '../hotplug/vcpu-release.ts';
import type { Machine } from '../machine.ts';

/** A place for a vCPU, taken or free, in the order of their numbers. */
export interface VcpuSlot {
  readonly index: number;
  readonly driver: string;
  /** socket, core, thread and NUMA node, as QEMU has them */
  readonly props: Readonly<Record<string, number>>;
  /** the vCPU in QEMU's object tree; undefined: the place is free */
  readonly path: string | undefined;
}

/**
 * Adds vCPUs, or asks the guest to let the last ones go: each is gone when the guest has ejected it.
 * Rejects with ApiError `busy` while vCPUs that the guest was asked for are still there and more are wanted.
 */
export async function resizeVcpus(machine: Machine, desired: number, wait: VcpuWait): Promise<void> {
  const { qmp } = machine.qemu;
  await untilVcpusReleased(machine, desired, wait);
  const slots = await vcpuSlots(qmp);
  const present = slots.filter(({ path }) => path !== undefined);
  const missing = Math.max(0, desired - present.length);
  checkGrowth(machine, { desired, present, missing });
  const free = slots.filter(({ path }) => path === undefined);
  for (const slot of free.slice(0, missing)) {
    await addVcpu(qmp, slot);
    machine.spareVcpus--;
  }
  if (missing > 0) await pinVcpus(machine);
  // those that were asked for before are asked for again: the guest may not have been listening
  for (const { index, path = '' } of present.slice(desired).toReversed()) {
    await qmp.execute('device_del', { id: path });
    machine.detachingVcpus.set(index, undefined);
  }
}

/** How long vCPUs that are leaving are waited for. */
export interface VcpuWait {
  readonly waits: AbortSignal;
  /** in milliseconds */
  readonly patience: number;
}

/** More vCPUs than stay can be had when the guest has released those that were removed before. */
async function untilVcpusReleased(machine: Machine, desired: number, wait: VcpuWait): Promise<void> {
  if (machine.detachingVcpus.size === 0) return;
  const isHeld = async (): Promise<boolean> => {
    const slots = await vcpuSlots(machine.qemu.qmp);
    forgetRemovedVcpus(machine, (vcpu) => slots[vcpu]?.path !== undefined);
    return desired > stayingIn(machine, slots).length && machine.detachingVcpus.size > 0;
  };
  await waitWhile(machine, isHeld, wait);
}

/** Those of the slots whose vCPU is there, and is not leaving. */
function stayingIn({ detachingVcpus }: Machine, slots: readonly VcpuSlot[]): VcpuSlot[] {
  return slots.filter(({ index, path }) => path !== undefined && !detachingVcpus.has(index));
}

async function addVcpu(qmp: Qmp, { index, driver, props }: VcpuSlot): Promise<void> {
  await qmp.execute('device_add', { driver, id: `vcpu${index}`, ...props });
}

/** Adds the vCPUs with these numbers to a machine that has not run yet. */
export async function addVcpus(qmp: Qmp, indices: readonly number[]): Promise<void> {
  if (indices.length === 0) return;
  const slots = await vcpuSlots(qmp);
  for (const slot of slots) if (indices.includes(slot.index)) await addVcpu(qmp, slot);
}

interface Growth {
  readonly desired: number;
  readonly present: readonly VcpuSlot[];
  readonly missing: number;
}

function checkGrowth(machine: Machine, { desired, present, missing }: Growth): void {
  if (desired > stayingIn(machine, present).length && machine.detachingVcpus.size > 0) {
    // the words that clients wait for
    throw new ApiError(
      'busy',
      'Too Many Requests: the guest has not let go the vCPUs that were removed before',
    );
  }
  if (missing > machine.spareVcpus) {
    throw new ApiError(
      'failed',
      `emulation can start ${machine.spareVcpus} more vCPUs until the VM is rebooted (vm.reboot), ${missing} are wanted`,
    );
  }
}

/** The places for vCPUs, in the order of their numbers. */
export async function vcpuSlots(qmp: Qmp): Promise<VcpuSlot[]> {
  const slots = await qmp.execute('query-hotpluggable-cpus');
  // QEMU lists the last one first
  return slots
    .toReversed()
    .map(({ type, props, 'qom-path': path }, index) => ({ index, driver: type, props, path }));
}
