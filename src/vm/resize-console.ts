import type { ConsoleReport, ConsoleRequest, ViewedConsole } from '../api/console-messages.ts';
import { qemuIdOf } from '../plan/placement.ts';
import { isCommandMissing } from '../qemu/qmp/qmp-error.ts';
import { reasonOf } from '../util/errno.ts';
import type { Machine } from './machine.ts';

/**
 * Tells the guest the size of a viewer's terminal, in characters: a virtio console has a size (VIRTIO 1.3, section 5.3.4). QEMU
 * implements it only with the command `chardev-window-size-changed`, which QEMU 10 does not have.
 */
export async function resizeConsole(
  machine: Machine | undefined,
  device: ViewedConsole,
  { columns, rows }: ConsoleRequest,
): Promise<ConsoleReport> {
  if (device === 'serial') return refused('A serial port has no size');
  const placement = machine?.layout.placements.find((one) => one.device.member === device);
  if (machine === undefined || placement === undefined) return refused('The VM is being rebooted');
  try {
    const size = { id: qemuIdOf(placement), cols: columns, rows };
    await machine.qemu.qmp.execute('chardev-window-size-changed', size);
    return { type: 'resize', applied: true };
  } catch (error) {
    return refused(isCommandMissing(error) ? NO_SIZE : reasonOf(error));
  }
}

const NO_SIZE = 'This QEMU cannot tell a guest the size of its console';

function refused(reason: string): ConsoleReport {
  return { type: 'resize', applied: false, reason };
}
