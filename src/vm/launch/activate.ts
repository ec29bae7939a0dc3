import { ApiError } from '../../api/errors.ts';
import type { Accelerator } from '../../host/system/accelerator.ts';
import { watchAllBursts } from '../devices/disk/bursts.ts';
import type { Machine } from '../machine.ts';
import { setBalloon } from '../observe/balloon.ts';
import type { BootedMachine } from '../vm.ts';
import { patchAcpiTables } from './acpi-patch.ts';
import { logDebuggerWait } from './debugger.ts';
import { enablePciDevices } from './enable-pci-devices.ts';
import { logAccelerator } from './log-accelerator.ts';
import type { MachineStart } from './machine-start.ts';

/**
 * Starts the vCPUs of a machine that has not run. They stay stopped if the machine `startsPaused` or a debugger is to start them.
 * Rejects with ApiError `failed`.
 */
export async function startGuest(machine: Machine, startsPaused: boolean): Promise<void> {
  const { balloon, gdb } = machine.config;
  const { qmp } = machine.qemu;
  try {
    await enablePciDevices(machine);
    await patchAcpiTables(machine);
    if (balloon !== undefined) await setBalloon(qmp, balloon.size);
    if (gdb === true) logDebuggerWait();
    else if (!startsPaused) await qmp.execute('cont');
  } catch (error) {
    throw new ApiError('failed', 'The vCPUs could not be started', { cause: error });
  }
}

/** Completes a start: the machine owns its resources, and one-time bursts of disk limits are watched. */
export function completeStart(
  start: MachineStart,
  booted: BootedMachine,
  accelerator: Accelerator,
): BootedMachine {
  const { machine } = start.complete(booted);
  logAccelerator(accelerator);
  watchAllBursts(machine);
  return booted;
}
