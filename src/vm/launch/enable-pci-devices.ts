import { isOlder } from '../../qemu/process/program.ts';
import { guestBus } from '../../qemu/guest-bus/guest-bus.ts';
import { onConfigSpace, PCI, PCI_COMMAND } from '../../qemu/guest-bus/pci-config.ts';
import type { Machine } from '../machine.ts';

/*
 * QEMU before 10.0.4 with several emulated vCPUs may access a wrong device while one vCPU changes the map of devices (its issue 3040),
 * and exits with a failed assertion: 3 of 270 boots with 24 disks and 4 vCPUs on two busy cores, none of 320 with this workaround.
 * Linux changes the map for each device that it enables when it probes it, on all vCPUs at once. A device that is enabled before the
 * boot is mapped when it gets its address, by one vCPU.
 */

const FIXED_IN = [10, 0, 4] as const;

/** Enables the PCI devices of a machine that has not run, where its QEMU is affected. */
export async function enablePciDevices(machine: Machine): Promise<void> {
  const { qemu, layout } = machine;
  if (!isAffected(machine)) return;
  const bus = await guestBus(qemu.qmp);
  for (const { device, slot } of layout.placements) {
    // the guest alone configures hardware of the host
    if (slot === undefined || device.isHostHardware === true) continue;
    await onConfigSpace(bus, slot, (space) =>
      space.write(PCI.command, 2, PCI_COMMAND.memory | PCI_COMMAND.master),
    );
  }
}

function isAffected({ qemu, accelerator, bootConfig, firmware }: Machine): boolean {
  // all other firmware enables devices itself, on one vCPU, and may not expect that they are enabled
  if (accelerator !== 'tcg' || firmware !== 'qboot.rom') return false;
  return bootConfig.cpus.max_vcpus > 1 && isOlder(qemu.qmp.version, FIXED_IN);
}
