import { ApiError } from '../../api/errors.ts';
import { portableVmConfig } from '../../config/vm-config.ts';
import type { AnyConfig, Device } from '../../devices/device.ts';
import { isBeforePaging } from '../../qemu/qmp/firmware-phase.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { withAbsolutePaths } from '../../schema/absolute-paths.ts';
import type { Vm } from '../vm.ts';
import type { Machine } from '../machine.ts';
import { vcpuSlots } from '../resize/vcpus.ts';
import { shapeOf } from './editable-config.ts';
import { describeImages } from './images.ts';
import { saveStates } from '../devices/states.ts';
import type { MachineDescription, SavedDevice } from './machine-description.ts';

/** A machine without its state and its RAM: what a like one is made from. One with pmem or vsock devices must be paused. */
export async function describeMachine({ config }: Vm, machine: Machine): Promise<MachineDescription> {
  const slots = await vcpuSlots(machine.qemu.qmp);
  return {
    engine: engineOf(machine),
    accelerator: machine.accelerator,
    firmware: machine.firmware,
    acpiPatch: machine.acpiPatch,
    isInFirstSteps: await isBeforePaging(machine.qemu.qmp),
    shape: shapeOf(portableVmConfig(config)),
    booted: machine.bootConfig,
    vcpus: slots.filter(({ path }) => path !== undefined).map(({ index }) => index),
    dimms: [...machine.dimms],
    memoryAddresses: await memoryAddresses(machine.qemu.qmp),
    nextNumber: machine.layout.nextNumber,
    images: await describeImages(machine),
    ...(await saveStates(machine)),
    devices: machine.layout.placements.map((placement): SavedDevice => {
      const { device, id, qemuName, slot, added, config } = placement;
      const leaving = machine.detaching.has(id) ? { leaving: portable(device, config) } : {};
      return { kind: kindOf(device), id, qemuName, slot, added, ...leaving };
    }),
  };
}

/** A device's configuration with absolute paths. */
function portable({ struct }: Device, config: AnyConfig): AnyConfig {
  if (struct === undefined || config === true) return config;
  return withAbsolutePaths(struct, config, process.cwd());
}

/** DIMMs, virtio-mem and pmem: each took the first room that there was when it came. */
async function memoryAddresses(qmp: Qmp): Promise<Record<string, number>> {
  const devices = await qmp.execute('query-memory-devices');
  return Object.fromEntries(devices.flatMap(({ id, address }) => (id === undefined ? [] : [[id, address]])));
}

/** What tells the kinds of devices apart: how their ids begin. */
export function kindOf({ ids, member }: Device): string {
  if (ids === undefined) return member;
  return 'prefix' in ids ? ids.prefix : ids.fixed;
}

/** @throws ApiError beginning with `refusal` where the state is another engine's */
export function checkEngine(
  machine: Machine,
  { engine, accelerator }: Pick<MachineDescription, 'engine' | 'accelerator'>,
  refusal: string,
): void {
  const [was, is] = [
    `QEMU ${engine} with ${accelerator}`,
    `QEMU ${engineOf(machine)} with ${machine.accelerator}`,
  ];
  if (was !== is) throw new ApiError('failed', `${refusal}: it was made by ${was}, here is ${is}`);
}

/** The version that decides whether a state can be read: `10.0` of `10.0.2`. */
function engineOf({ qemu }: Machine): string {
  return qemu.qmp.version.slice(0, 2).join('.');
}
