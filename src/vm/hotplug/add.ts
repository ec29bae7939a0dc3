import type { PciDeviceInfo } from '../../api/replies.ts';
import { ApiError } from '../../api/errors.ts';
import { toApiError } from '../../api/handlers.ts';
import { dialectOf } from '../../config/dialect.ts';
import { ConfigError } from '../../config/errors.ts';
import { withDevice } from '../../config/merge.ts';
import { validateVmConfig } from '../../config/decode-vm-config.ts';
import { type VmConfig } from '../../config/vm-config.ts';
import type { AnyConfig, Device } from '../../devices/device.ts';
import { addPlacement, bdfOf, completedPart, type Placement } from '../../plan/placement.ts';
import { needsSharedMemory } from '../../devices/common/step.ts';
import { planDevice } from '../../plan/machine-plan.ts';
import { QemuError } from '../../qemu/process/qemu-error.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { addSteps } from '../../qemu/qmp/steps.ts';
import { withAddresses } from '../addresses.ts';
import { pinQueues } from '../affinity/pin-threads.ts';
import { watchBursts } from '../devices/disk/bursts.ts';
import { countLatencies } from '../observe/latencies.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import { createLog } from '../../util/log.ts';
import { reasonOf } from '../../util/errno.ts';
import { engineFailure } from '../qemu-failure.ts';
import { askHostPorts } from '../devices/net/host-ports.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { untilReleased } from './release.ts';
import { untilSettled } from './settle.ts';

const log = createLog('hotplug');

/**
 * Adds a device to a VM: to its configuration, and to its machine where there is one.
 * Rejects with ApiError, and then both are as they were.
 * @returns where the guest sees the device; undefined where nothing runs yet
 */
export async function addDevice(
  vm: Vm,
  device: Device,
  part: AnyConfig,
  { waits }: ShutdownSignals,
): Promise<PciDeviceInfo | undefined> {
  const grown = checked(vm.config, device, part);
  if (vm.live === undefined) {
    vm.config = withAddresses(grown);
    return undefined;
  }
  const { machine } = vm.live;
  if (vm.config.iommu && part !== true && part['iommu'] === true) {
    log.warn(`${device.member}: a device that is added is behind the vIOMMU from the next boot on`);
  }
  const added = { device, config: part, id: givenId(part) };
  await untilReleased(vm, added, waits);
  if (device.takesSlot) await untilSettled(vm, waits);
  const { layout, placement } = addPlacement(machine.layout, added);
  const { rawImages } = vm;
  await machine.preparations.add(placement, { vm: grown, rawImages, expected: undefined, signal: waits });
  await plug(machine, placement, waits).catch(async (error: unknown) => {
    await machine.preparations.release(placement.id);
    throw engineFailure(
      error,
      [placement],
      `${device.flag ?? device.member} ${placement.id} could not be added`,
    );
  });
  machine.layout = layout;
  await showHostPorts(machine, placement);
  watchBursts(machine, placement);
  vm.config = withDevice(
    vm.config,
    device,
    completedPart(placement, machine.preparations.completed(placement)),
  );
  return { id: placement.id, bdf: bdfOf(placement.slot ?? 0) };
}

async function plug(
  { qemu, preparations, config }: Machine,
  placement: Placement,
  signal: AbortSignal,
): Promise<void> {
  const steps = planDevice(placement, preparations.facts().get(placement.id));
  if (needsSharedMemory(steps)) await checkShared(qemu.qmp);
  await addSteps(qemu.qmp, steps, signal);
  await pinQueues(qemu.qmp, placement);
  if (dialectOf(config).hasLatencies) await countLatencies(qemu.qmp, placement);
}

/** The device is there: not to know its ports is no reason to fail. */
async function showHostPorts(machine: Machine, placement: Placement): Promise<void> {
  try {
    machine.hostPorts = new Map([
      ...machine.hostPorts,
      ...(await askHostPorts(machine.qemu.qmp, [placement])),
    ]);
  } catch (error) {
    log.warn(`net ${placement.id}: the ports of the host are not known: ${reasonOf(error)}`);
  }
}

/** RAM stays as it was made: shared where a device at boot needed it, private where its pages are merged. */
async function checkShared(qmp: Qmp): Promise<void> {
  const memory = await qmp.execute('query-memdev');
  if (memory.every(({ share }) => share)) return;
  throw new QemuError(
    'needs shared memory: boot the VM with memory.shared (--memory shared=on), or with the device in its configuration',
  );
}

/** @throws ApiError where the VM cannot have the device by the rules of the configuration */
function checked(config: VmConfig, device: Device, part: AnyConfig): VmConfig {
  try {
    const grown = withDevice(config, device, part);
    validateVmConfig(grown);
    return grown;
  } catch (error) {
    if (error instanceof ConfigError && error.kind === 'duplicate') {
      throw new ApiError('duplicate-id', error.message, { cause: error });
    }
    throw toApiError(error);
  }
}

function givenId(part: AnyConfig): string | undefined {
  const id = part === true ? undefined : part['id'];
  return typeof id === 'string' ? id : undefined;
}
