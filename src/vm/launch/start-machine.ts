import { dialectOf } from '../../config/dialect.ts';
import { POST_CODES } from '../../plan/post-codes.ts';
import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import { channelInsteadOf, isOwnBackend, type ChardevStep, type Step } from '../../devices/common/step.ts';
import { vcpuPlaces } from '../../plan/acpi-patch.ts';
import { withDevices } from '../../plan/placement.ts';
import type { Qemu } from '../../qemu/process/qemu.ts';
import { pinThreads } from '../affinity/pin-threads.ts';
import type { Consoles } from '../consoles.ts';
import { askHostPorts } from '../devices/net/host-ports.ts';
import type { Preparations } from '../devices/preparations.ts';
import type { Machine } from '../machine.ts';
import { readBalloon } from '../observe/balloon.ts';
import { readCounters } from '../observe/counters.ts';
import { countLatencies } from '../observe/latencies.ts';
import { createLatest, INFO_LIMIT_MS } from '../observe/latest.ts';
import { logPostCodes } from '../observe/post-codes.ts';
import { followResources } from '../observe/resources.ts';
import { checkSharedRam, isSnapshotFile } from './check-shared-ram.ts';
import { launchQemu, type QemuLaunch } from './launch-qemu.ts';
import type { MachineStart } from './machine-start.ts';
import type { PlannedMachine } from './planned-machine.ts';

/**
 * Starts QEMU for a planned machine. Its vCPUs are stopped before the guest's first instruction; `start` owns it.
 * Rejects with ApiError `failed`, naming the device or the memory zone that QEMU cannot make.
 */
export async function startMachine(
  start: MachineStart & Pick<LaunchContext, 'onMemory'>,
  planned: PlannedMachine,
  consoles: Consoles,
): Promise<Machine> {
  start.tracker.enter('starting QEMU');
  checkSharedRam(planned);
  start.checkNotAborted();
  const machine = await launchMachine(start, planned, consoles);
  consoles.attach(machine.qemu.channels, machine.layout.placements);
  return machine;
}

/** Parts of a start that {@link launchMachine} needs. */
export interface LaunchContext extends QemuLaunch, Pick<MachineStart, 'startedAt'> {}

/** The part of {@link startMachine} that does not depend on the VM's other machine; the consoles are not attached yet. */
export async function launchMachine(
  start: LaunchContext,
  planned: PlannedMachine,
  consoles: Pick<Consoles, 'viewed'>,
): Promise<Machine> {
  const viewed = consoles.viewed(planned.layout.placements);
  const qemu = await launchQemu(start, { ...planned, plan: withViewedConsoles(planned.plan, viewed) });
  const machine = createMachine(planned, qemu, start.preparations);
  const { placements } = machine.layout;
  const postCodes = qemu.channels.get(POST_CODES);
  if (postCodes !== undefined) logPostCodes(postCodes, start.startedAt);
  await pinThreads(machine);
  await countAllLatencies(machine);
  machine.hostPorts = await askHostPorts(qemu.qmp, placements);
  return machine;
}

/** Returns a plan in which consoles that have viewers already have a channel; `viewed` are their chardevs. */
function withViewedConsoles(plan: MachinePlan, viewed: ReadonlySet<string>): MachinePlan {
  if (viewed.size === 0) return plan;
  return { ...plan, steps: plan.steps.map((step) => (isIn(viewed, step) ? viewedStep(step) : step)) };
}

function isIn(viewed: ReadonlySet<string>, step: Step): step is ChardevStep {
  return step.kind === 'chardev' && viewed.has(step.id);
}

function viewedStep(step: ChardevStep): ChardevStep {
  const { backend } = step;
  return isOwnBackend(backend) ? { ...step, backend: channelInsteadOf(backend) } : step;
}

function createMachine(planned: PlannedMachine, qemu: Qemu, preparations: Preparations): Machine {
  const { config, bootConfig, layout, accelerator, acpiPatch } = planned;
  const { cpus, memory, numa } = bootConfig;
  const machine: Machine = {
    config: withDevices(config, layout.placements, preparations.completed),
    bootConfig: { cpus, memory, numa },
    ram: planned.ram,
    snapshotRam: snapshotRam(planned.plan),
    qemu,
    accelerator: accelerator.name,
    firmware: planned.firmware,
    efiVariables: planned.efiVariables,
    acpiPatch,
    kernelEntry: planned.kernelEntry,
    layout,
    deviceSteps: new Map(planned.deviceSteps),
    preparations,
    hostPorts: new Map(),
    detaching: new Map(),
    hasReleased: false,
    ejected: new Set(),
    onDetached: () => undefined,
    hidden: new Set(),
    detachingVcpus: new Map(),
    spareVcpus: accelerator.name === 'tcg' ? vcpuPlaces(cpus, acpiPatch) - cpus.boot_vcpus : Infinity,
    dimms: [],
    snapshotBase: undefined,
    guestFailure: undefined,
    formerStats: new Map(),
    activeDrivers: undefined,
    endedBursts: new Set(),
    balloonBytes: createLatest(() => readBalloon(qemu.qmp), INFO_LIMIT_MS),
    diskCounters: createLatest(() => readCounters(machine, machine.layout.placements, dialectOf(config))),
    resources: followResources(qemu.qmp),
    end: async () => {
      try {
        await qemu.quit();
      } finally {
        await preparations.releaseAll();
      }
    },
  };
  return machine;
}

/** Returns the ids of RAM that is a private mapping of a read-only file. */
function snapshotRam({ steps, lateSteps }: MachinePlan): ReadonlySet<string> {
  const objects = [...steps, ...lateSteps].filter((step) => step.kind === 'object');
  return new Set(objects.filter(isSnapshotFile).map(({ props }) => props.id));
}

async function countAllLatencies({ config, qemu, layout }: Machine): Promise<void> {
  if (!dialectOf(config).hasLatencies) return;
  for (const placement of layout.placements) await countLatencies(qemu.qmp, placement);
}
