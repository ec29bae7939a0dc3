import { isOlder } from '../../qemu/process/program.ts';
import { guestBus } from '../../qemu/guest-bus/guest-bus.ts';
import { onConfigSpace, PCI, PCI_COMMAND } from '../../qemu/guest-bus/pci-config.ts';
import type { Machine } from '../machine.ts';

/*
 * QEMU before 10.0.4, where it emulates several processors, may reach another device than the one that is meant while one of them
 * changes the map of devices (its issue 3040), and ends with a failed assertion: so did 3 of 270 boots with 24 disks and 4 vCPUs on two
 * busy cores, and none of 320 with this. Linux changes the map for each device that it switches on when it probes it, and it probes on
 * all processors at once. A device that is on from the beginning is mapped when it is given its place: before that, by one processor.
 */

const MENDED = [10, 0, 4] as const;

/** Switches the devices of a machine on that has not run yet, where its QEMU needs it. */
export async function switchOnDevices(machine: Machine): Promise<void> {
  const { qemu, layout } = machine;
  if (!needsIt(machine)) return;
  const bus = await guestBus(qemu.qmp);
  for (const { device, slot } of layout.placements) {
    if (slot === undefined || device.isHostHardware === true) continue;
    await onConfigSpace(bus, slot, (space) =>
      space.write(PCI.command, 2, PCI_COMMAND.memory | PCI_COMMAND.master),
    );
  }
}

function needsIt({ qemu, accelerator, bootConfig, firmware }: Machine): boolean {
  // all other firmware does it itself, on one processor, and need not expect that it was done
  if (accelerator !== 'tcg' || firmware !== 'qboot.rom') return false;
  return bootConfig.cpus.max_vcpus > 1 && isOlder(qemu.qmp.version, MENDED);
}
