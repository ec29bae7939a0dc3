import type { Device } from '../../devices/device.ts';
import type { Vm } from '../vm.ts';
import type { Run } from '../run.ts';
import { vcpuSlots } from '../resize/vcpus.ts';
import { shapeOf } from './edits.ts';
import type { SavedDevice, SavedMachine } from './saved-machine.ts';

/** A running machine without its state and its RAM: what a like one is made from. */
export async function describeMachine(
  { config }: Vm,
  run: Run,
): Promise<Omit<SavedMachine, 'regions' | 'deviceState'>> {
  const slots = await vcpuSlots(run.qemu.qmp);
  return {
    engine: engineOf(run),
    accelerator: run.accelerator,
    hasFirmware: run.hasFirmware,
    shape: shapeOf(config),
    booted: run.booted,
    vcpus: slots.filter(({ path }) => path !== undefined).map(({ index }) => index),
    nextNumber: run.layout.nextNumber,
    devices: run.layout.placements.map((placement): SavedDevice => {
      const { device, id, slot, config } = placement;
      const leaving = run.leaving.has(id) ? { leaving: config } : {};
      return { kind: kindOf(device), id, ...(slot === undefined ? {} : { slot }), ...leaving };
    }),
  };
}

/** What tells the kinds of devices apart: how their ids begin. */
export function kindOf({ ids, member }: Device): string {
  if (ids === undefined) return member;
  return 'prefix' in ids ? ids.prefix : ids.fixed;
}

/** The version that decides whether a state can be read: `10.0` of `10.0.2`. */
export function engineOf({ qemu }: Run): string {
  return qemu.qmp.version.slice(0, 2).join('.');
}
