import { ApiError } from '../../api/errors.ts';
import { portableVmConfig } from '../../config/vm-config.ts';
import type { AnyConfig, Device } from '../../devices/device.ts';
import { isBeforePaging } from '../../qemu/qmp/firmware-phase.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { withAbsolutePaths } from '../../schema/absolute-paths.ts';
import type { Vm } from '../vm.ts';
import type { Machine } from '../machine.ts';
import { vcpuSlots } from '../resize/vcpus.ts';
import { fixedConfigOf } from './editable-config.ts';
import { describeImages } from './images.ts';
import { saveStates } from '../devices/states.ts';
import type { SavedDescription, SavedDevice } from './description-schema.ts';
import type { MachineDescription } from './machine-description.ts';

/**
 * Returns the description of a machine, as JSON: see `MachineDescription`. A machine with devices whose state QEMU does not save
 * (`hasUnsavedDevices`) must be paused.
 */
export async function describeMachine({ config }: Vm, machine: Machine): Promise<SavedDescription> {
  const slots = await vcpuSlots(machine.qemu.qmp);
  return {
    engine: qemuVersionOf(machine),
    accelerator: machine.accelerator,
    firmware: machine.firmware,
    efiVariables: machine.efiVariables,
    acpiPatch: machine.acpiPatch,
    isInFirstSteps: await isBeforePaging(machine.qemu.qmp),
    shape: fixedConfigOf(portableVmConfig(config)),
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

/** Returns a device's configuration with absolute paths. */
function portable({ struct }: Device, config: AnyConfig): AnyConfig {
  if (struct === undefined || config === true) return config;
  return withAbsolutePaths(struct, config, process.cwd());
}

/** Returns the guest addresses of DIMMs, virtio-mem and pmem devices, which depend on the order in which they were attached. */
async function memoryAddresses(qmp: Qmp): Promise<Record<string, number>> {
  const devices = await qmp.execute('query-memory-devices');
  return Object.fromEntries(devices.flatMap(({ id, address }) => (id === undefined ? [] : [[id, address]])));
}

/** Returns the name of a kind of devices in a description: the prefix of their ids. */
export function kindOf({ ids, member }: Device): string {
  if (ids === undefined) return member;
  return 'prefix' in ids ? ids.prefix : ids.fixed;
}

/**
 * Checks that the machine's QEMU can load the described state.
 * @throws ApiError beginning with `refusal` if version or accelerator differ
 */
export function checkSameQemu(
  machine: Machine,
  { qemuVersion, accelerator }: Pick<MachineDescription, 'qemuVersion' | 'accelerator'>,
  refusal: string,
): void {
  const [was, is] = [
    `QEMU ${qemuVersion} with ${accelerator}`,
    `QEMU ${qemuVersionOf(machine)} with ${machine.accelerator}`,
  ];
  if (was !== is) throw new ApiError('failed', `${refusal}: it was made by ${was}, here is ${is}`);
}

/** Returns the part of QEMU's version that decides whether a state can be loaded: `10.0` of `10.0.2`. */
function qemuVersionOf({ qemu }: Machine): string {
  return qemu.qmp.version.slice(0, 2).join('.');
}
