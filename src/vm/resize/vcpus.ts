import { ApiError } from '../../api/errors.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { pinVcpus } from '../affinity/pin-threads.ts';
import { waitWhile } from '../hotplug/wait-release.ts';
import { askForVcpus, dropRemovedVcpus, newRemoval, type PresentVcpu } from '../hotplug/vcpu-release.ts';
import type { Machine } from '../machine.ts';

/** A place for a vCPU. */
export interface VcpuSlot {
  readonly index: number;
  readonly driver: string;
  /** socket, core, thread and NUMA node, as QEMU names them */
  readonly props: Readonly<Record<string, number>>;
  /** path of the vCPU in QEMU's object tree; undefined if the place is free */
  readonly path: string | undefined;
}

/**
 * Adds vCPUs, or asks the guest to release the last ones: QEMU removes each when the guest has ejected it.
 * Rejects with ApiError `busy` if vCPUs are to be added and the guest has not released the removed ones.
 */
export async function resizeVcpus(machine: Machine, desired: number, wait: VcpuWait): Promise<void> {
  const { qmp } = machine.qemu;
  await untilVcpusReleased(machine, desired, wait);
  const slots = await vcpuSlots(qmp);
  const present = presentIn(slots);
  const missing = Math.max(0, desired - present.length);
  checkGrowth(machine, { desired, slots, missing });
  const free = slots.filter(({ path }) => path === undefined);
  for (const slot of free.slice(0, missing)) {
    await addVcpu(qmp, slot);
    machine.spareVcpus--;
  }
  if (missing > 0) await pinVcpus(machine);
  // vCPUs of earlier requests are included: the guest's kernel may not have been ready
  const surplus = present.slice(desired).toReversed();
  await askForVcpus(machine, surplus, (path) => qmp.execute('device_del', { id: path }));
}

/** Wait for vCPUs that the guest is to release. */
export interface VcpuWait {
  readonly waits: AbortSignal;
  /** time limit, in milliseconds */
  readonly limitMs: number;
}

/** Waits for the release of removed vCPUs if more vCPUs are desired than stay. */
async function untilVcpusReleased(machine: Machine, desired: number, wait: VcpuWait): Promise<void> {
  if (machine.detachingVcpus.size === 0) return;
  const isHeld = async (): Promise<boolean> => {
    const slots = await vcpuSlots(machine.qemu.qmp);
    dropRemovedVcpus(machine, (vcpu) => slots[vcpu]?.path !== undefined);
    return desired > stayingIn(machine, slots).length && machine.detachingVcpus.size > 0;
  };
  await waitWhile(machine, isHeld, wait);
}

/** Returns the slots with a vCPU that the guest is not asked to release. */
function stayingIn({ detachingVcpus }: Machine, slots: readonly VcpuSlot[]): PresentVcpu[] {
  return presentIn(slots).filter(({ index }) => !detachingVcpus.has(index));
}

/** Returns the vCPUs that QEMU has, in ascending order of their numbers. */
function presentIn(slots: readonly VcpuSlot[]): PresentVcpu[] {
  return slots.flatMap(({ index, path }) => (path === undefined ? [] : [{ index, path }]));
}

async function addVcpu(qmp: Qmp, { index, driver, props }: VcpuSlot): Promise<void> {
  await qmp.execute('device_add', { driver, id: `vcpu${index}`, ...props });
}

/** Marks the vCPUs beyond those of the configuration in a machine that has not run: its guest was asked to release them. */
export async function continueVcpuRemoval({ qemu, config, detachingVcpus }: Machine): Promise<void> {
  const present = presentIn(await vcpuSlots(qemu.qmp));
  for (const { index } of present.slice(config.cpus.boot_vcpus)) detachingVcpus.set(index, newRemoval());
}

/** Adds the vCPUs with these numbers to a machine that has not run. */
export async function addVcpus(qmp: Qmp, indices: readonly number[]): Promise<void> {
  if (indices.length === 0) return;
  const slots = await vcpuSlots(qmp);
  for (const slot of slots) if (indices.includes(slot.index)) await addVcpu(qmp, slot);
}

interface Growth {
  readonly desired: number;
  readonly slots: readonly VcpuSlot[];
  readonly missing: number;
}

function checkGrowth(machine: Machine, { desired, slots, missing }: Growth): void {
  if (desired > stayingIn(machine, slots).length && machine.detachingVcpus.size > 0) {
    // clients recognize this text of Cloud Hypervisor
    throw new ApiError(
      'busy',
      'Too Many Requests: the guest has not released the vCPUs that were removed before',
    );
  }
  if (missing > machine.spareVcpus) {
    throw new ApiError(
      'failed',
      `emulation can start ${machine.spareVcpus} more vCPUs until the VM is rebooted (vm.reboot), ${missing} are wanted`,
    );
  }
}

/** Returns the places for vCPUs, in ascending order of their numbers. */
export async function vcpuSlots(qmp: Qmp): Promise<VcpuSlot[]> {
  const slots = await qmp.execute('query-hotpluggable-cpus');
  // QEMU lists the last one first
  return slots
    .toReversed()
    .map(({ type, props, 'qom-path': path }, index) => ({ index, driver: type, props, path }));
}
