import type { PciDeviceInfo } from '../../api/replies.ts';
import { ApiError } from '../../api/errors.ts';
import { toApiError } from '../../api/handlers.ts';
import { dialectOf } from '../../config/dialect.ts';
import { ConfigError } from '../../config/errors.ts';
import { withDevice } from '../../config/merge.ts';
import { validateVmConfig } from '../../config/decode-vm-config.ts';
import { type VmConfig } from '../../config/vm-config.ts';
import type { AnyConfig, Device } from '../../devices/device.ts';
import { addPlacement, bdfOf, withDeviceId, type Placement } from '../../plan/placement.ts';
import { needsMapping, needsSharedMemory, type Step } from '../../devices/common/step.ts';
import { planDevice } from '../../plan/machine-plan.ts';
import { QemuError } from '../../qemu/process/qemu-error.ts';
import { addSteps } from '../../qemu/qmp/steps.ts';
import { withAddresses } from '../addresses.ts';
import { pinQueues } from '../affinity/pin-threads.ts';
import { watchBursts } from '../devices/disk/bursts.ts';
import { countLatencies } from '../observe/latencies.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import { createLog } from '../../util/log.ts';
import { reasonOf } from '../../util/errno.ts';
import { qemuFailure } from '../qemu-failure.ts';
import { askHostPorts } from '../devices/net/host-ports.ts';
import { isAccessible } from '../memory-access.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { untilReleased, type NewDevice } from './wait-release.ts';
import { untilNoPendingRelease } from './pending-releases.ts';

/*
 * Hot-plug and hot-unplug of devices of a running machine.
 *
 *   add.ts               attaches a device; wait-release.ts, pending-releases.ts: waits for the guest before
 *   remove.ts            asks the guest to release a device; release-times.ts: time limits of these requests
 *   ejected.ts           releases a device that the guest has ejected
 *   vcpu-release.ts      the same for vCPUs, which resize/ removes; vcpu-removal.ts: state of such a removal
 *
 * States of a device: attached, `detaching` (the guest was asked), `ejected` (QEMU no longer has it), released. Invariant: id, slot and
 * host resources of a device stay in use until it is released.
 */

const log = createLog('hotplug');

/**
 * Attaches a device to a VM: to its configuration, and to its machine if it has one.
 * Rejects with ApiError; both are unchanged then.
 * @returns id and PCI address of the device; undefined if the VM has no machine
 */
export async function addDevice(
  vm: Vm,
  device: Device,
  config: AnyConfig,
  { waits }: ShutdownSignals,
): Promise<PciDeviceInfo | undefined> {
  const request: NewDevice = { device, config, id: givenId(config) };
  const grown = checkedConfig(vm.config, request);
  if (vm.booted === undefined) {
    vm.config = withAddresses(grown);
    return undefined;
  }
  const { machine } = vm.booted;
  if (vm.config.iommu && config !== true && config['iommu'] === true) {
    log.warn(`${device.member}: a device that is added is behind the vIOMMU from the next boot on`);
  }
  await untilReleased(vm, request, waits);
  if (device.takesSlot) await untilNoPendingRelease(vm, waits);
  const { layout, placement } = addPlacement(machine.layout, request);
  await attach(vm, machine, placement, waits);
  machine.layout = layout;
  await readHostPorts(machine, placement);
  watchBursts(machine, placement);
  const completed = withDeviceId(placement, machine.preparations.completed(placement));
  // not `grown`: the guest may have released other devices meanwhile
  vm.config = withDevice(vm.config, device, completed);
  return { id: placement.id, bdf: bdfOf(placement.slot ?? 0) };
}

/** Prepares the host for a device and makes it in QEMU. If it rejects, the host resources are released. */
async function attach(
  { config, rawImages }: Vm,
  machine: Machine,
  placement: Placement,
  signal: AbortSignal,
): Promise<void> {
  const { preparations, deviceSteps } = machine;
  const { id, device } = placement;
  await preparations.add(placement, { vm: config, rawImages, expected: undefined, signal });
  try {
    const steps = planDevice(placement, preparations.facts().get(id));
    await plug(machine, placement, steps, signal);
    deviceSteps.set(id, steps);
  } catch (error) {
    await preparations.release(id);
    throw qemuFailure(error, [placement], `${device.flag ?? device.member} ${id} could not be added`);
  }
}

async function plug(
  machine: Machine,
  placement: Placement,
  steps: readonly Step[],
  signal: AbortSignal,
): Promise<void> {
  const { qemu, config } = machine;
  if (needsSharedMemory(steps)) await checkShared(machine, steps);
  await addSteps(qemu.qmp, steps, signal);
  await pinQueues(qemu.qmp, placement);
  if (dialectOf(config).hasLatencies) await countLatencies(qemu.qmp, placement);
}

/** Reads the ports that QEMU chose for a network. A failure is logged: the device is attached. */
async function readHostPorts(machine: Machine, placement: Placement): Promise<void> {
  try {
    machine.hostPorts = new Map([
      ...machine.hostPorts,
      ...(await askHostPorts(machine.qemu.qmp, [placement])),
    ]);
  } catch (error) {
    log.warn(`net ${placement.id}: the ports of the host are not known: ${reasonOf(error)}`);
  }
}

/**
 * Checks that RAM is shared, which cannot change after QEMU's start. A private mapping of a snapshot is enough for a thread of the VMM.
 * Rejects with ApiError.
 */
async function checkShared({ qemu, snapshotRam }: Machine, steps: readonly Step[]): Promise<void> {
  const memory = await qemu.qmp.execute('query-memdev');
  // a live snapshot changes mappings without QEMU
  const hidden = memory.filter(({ share, id }) => !share || (id !== undefined && snapshotRam.has(id)));
  if (hidden.length === 0) return;
  const isOfSnapshot = hidden.every(({ id }) => id !== undefined && snapshotRam.has(id));
  if (isOfSnapshot && !needsMapping(steps) && (await isAccessible(steps))) return;
  throw new QemuError(
    'needs shared memory: boot the VM with memory.shared (--memory shared=on), or with the device in its configuration',
  );
}

/** Returns the configuration with the device. @throws ApiError if a rule of the configuration forbids the device */
function checkedConfig(config: VmConfig, { device, config: added }: NewDevice): VmConfig {
  try {
    const grown = withDevice(config, device, added);
    validateVmConfig(grown);
    return grown;
  } catch (error) {
    if (error instanceof ConfigError && error.kind === 'duplicate') {
      throw new ApiError('duplicate-id', error.message, { cause: error });
    }
    throw toApiError(error);
  }
}

function givenId(config: AnyConfig): string | undefined {
  const id = config === true ? undefined : config['id'];
  return typeof id === 'string' ? id : undefined;
}
