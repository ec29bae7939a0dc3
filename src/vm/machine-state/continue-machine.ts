import { vcpuPlaces } from '../../plan/acpi-patch.ts';
import { pinVcpus } from '../affinity/pin-threads.ts';
import type { Machine } from '../machine.ts';
import { addVcpus, continueVcpuRemoval } from '../resize/vcpus.ts';
import type { MachineDescription } from './machine-description.ts';

/**
 * Completes a machine that waits for the state of another machine. Adds the vCPUs that QEMU could not start with. Sets the hot-plug
 * facts of the description: DIMMs, and devices and vCPUs that the guest was asked to release.
 */
export async function continueHotplug(machine: Machine, description: MachineDescription): Promise<void> {
  const { vcpus, dimms, devices } = description;
  const first = contiguousVcpus(vcpus);
  await addVcpus(
    machine.qemu.qmp,
    vcpus.filter((index) => index >= first),
  );
  await pinVcpus(machine);
  machine.dimms.push(...dimms);
  for (const { id, leaving } of devices) {
    if (leaving !== undefined) machine.detaching.set(id, performance.now());
  }
  if (machine.spareVcpus !== Infinity) {
    machine.spareVcpus = vcpuPlaces(machine.bootConfig.cpus, machine.acpiPatch) - vcpus.length;
  }
  if (vcpus.length > machine.config.cpus.boot_vcpus) await continueVcpuRemoval(machine);
}

/** Returns the number of vCPUs before the first gap in their numbers: QEMU starts with these, the others are added. */
export function contiguousVcpus(vcpus: readonly number[]): number {
  const gap = vcpus.findIndex((index, i) => index !== i);
  return gap < 0 ? vcpus.length : gap;
}
