import { ApiError } from '../../api/errors.ts';
import { deviceItems, type DeviceItem } from '../../config/items.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { CpusConfig } from '../../devices/cpus/config.ts';
import type { AnyConfig, Device } from '../../devices/device.ts';
import { DEVICES } from '../../devices/table.ts';
import { MemoryConfig } from '../../devices/memory/config.ts';
import { vcpuPlaces } from '../../plan/acpi-patch.ts';
import type { Layout, Placement } from '../../plan/placement.ts';
import type { Step } from '../../devices/common/step.ts';
import { decode } from '../../schema/decode.ts';
import { kindOf } from './describe-machine.ts';
import { pinVcpus } from '../affinity/pin-threads.ts';
import { planDimm } from '../resize/dimm.ts';
import { addVcpus, vcpuSlots } from '../resize/vcpus.ts';
import { lookAtHost, type BootFiles } from '../launch/boot-files.ts';
import type { BootConfig, Machine } from '../machine.ts';
import type { Start } from '../launch/machine.ts';
import { likeNames, type LikeNames } from './restored-names.ts';
import type { MachineDescription, SavedDevice } from './machine-description.ts';

/**
 * How a machine starts that is to take another one's state: the same devices in the same places, the vCPUs that were there.
 * @throws ApiError where the configuration has other devices
 */
export function likeStart(
  config: VmConfig,
  description: MachineDescription,
  rawImages: Start['rawImages'],
): Start {
  const together = contiguous(description.vcpus);
  return {
    config,
    booted: bootedLike(config, description),
    layout: layoutLike(config, description),
    rawImages,
    lookAtHost: () => lookLike(config, description),
    chooseAcpiPatch: () => description.acpiPatch,
    adapt: (plan) => {
      const dimms = description.dimms.flatMap((size, i) => planDimm(i, size, config));
      const steps = [...plan.steps, ...dimms].map((step) => addressed(step, description.memoryAddresses));
      return { ...plan, steps, smp: { ...plan.smp, cpus: together }, incoming: true };
    },
    begin: async (machine) => {
      await addVcpus(
        machine.qemu.qmp,
        description.vcpus.filter((index) => index >= together),
      );
      await pinVcpus(machine);
      await takeOver(machine, description);
    },
  };
}

/** The kernel is read again only where the guest is still fetching it; firmware of QEMU's has its place in the machine. */
async function lookLike(
  config: VmConfig,
  { firmware, isInFirstSteps }: MachineDescription,
): Promise<BootFiles> {
  if (firmware === 'own' || isInFirstSteps) return lookAtHost(config);
  const kernel = { kind: 'none', firmware } as const;
  return { kernel, initramfs: undefined, files: [], [Symbol.asyncDispose]: async () => undefined };
}

/** A device that is memory, at the address that it had. */
function addressed(step: Step, addresses: Readonly<Record<string, number>>): Step {
  if (step.kind !== 'device' || step.props.id === undefined) return step;
  const address = addresses[step.props.id];
  if (address === undefined) return step;
  const property = step.props.driver === 'pc-dimm' ? 'addr' : 'memaddr';
  return { ...step, props: { ...step.props, [property]: address } };
}

/** How many vCPUs there are from the first on without a gap. */
function contiguous(vcpus: readonly number[]): number {
  const gap = vcpus.findIndex((index, i) => index !== i);
  return gap < 0 ? vcpus.length : gap;
}

/** What the other machine's run knew of its parts. */
async function takeOver(machine: Machine, { devices, vcpus, dimms }: MachineDescription): Promise<void> {
  machine.dimms.push(...dimms);
  for (const { id, leaving } of devices)
    if (leaving !== undefined) machine.detaching.set(id, performance.now());
  if (machine.spareVcpus !== Infinity) {
    machine.spareVcpus = vcpuPlaces(machine.bootConfig.cpus, machine.acpiPatch) - vcpus.length;
  }
  if (vcpus.length <= machine.config.cpus.boot_vcpus) return;
  const present = (await vcpuSlots(machine.qemu.qmp)).filter(({ path }) => path !== undefined);
  for (const { index } of present.slice(machine.config.cpus.boot_vcpus))
    machine.detachingVcpus.set(index, undefined);
}

/** What the machine began with; a zone's file is the one that the configuration names now. */
function bootedLike(config: VmConfig, { booted }: MachineDescription): BootConfig {
  const memory = decode(MemoryConfig, booted.memory);
  const zones = memory.zones?.map((zone) => {
    const now = config.memory.zones?.find(({ id }) => id === zone.id);
    // with or without a file: that is another layout
    if (zone.file === undefined || now?.file === undefined) return zone;
    return { ...zone, file: now.file, shared: now.shared };
  });
  const { prefault, thp, reserve } = config.memory;
  return {
    cpus: decode(CpusConfig, booted.cpus),
    memory: { ...memory, prefault, thp, reserve, zones },
    numa: config.numa,
  };
}

function layoutLike(config: VmConfig, { devices, nextNumber }: MachineDescription): Layout {
  const left = [...deviceItems(config)];
  const names = likeNames(config, nextNumber);
  const placements = devices.map((device) => placementLike(device, left, names.nameOf));
  const [extra] = left;
  if (extra !== undefined) throw otherDevices(`${extra.place} was not in the machine`);
  return { placements, nextNumber: names.nextNumber() };
}

/** Takes the device's item out of those that are left. */
function placementLike(saved: SavedDevice, left: DeviceItem[], nameOf: LikeNames['nameOf']): Placement {
  const { kind, id, slot, added = false, leaving } = saved;
  const device = DEVICES.find((one) => kindOf(one) === kind);
  if (device === undefined) throw otherDevices(`no device is called ${kind}`);
  if (leaving !== undefined) return { device, id, slot, added, config: leavingConfig(device, leaving) };
  // what has no id in the configuration is there once, or in the order of the zones that it comes from
  const at = left.findIndex((one) => one.device === device && (one.id === undefined || one.id === id));
  const [item] = at < 0 ? [] : left.splice(at, 1);
  if (item === undefined) throw otherDevices(`${device.member} ${id} is missing`);
  return { device, ...nameOf(saved, item), slot, added, config: item.config };
}

function leavingConfig({ struct }: Device, saved: unknown): AnyConfig {
  return struct === undefined ? true : decode(struct, saved);
}

function otherDevices(reason: string): ApiError {
  return new ApiError('failed', `The configuration is another machine's: ${reason}`);
}
