import { ApiError } from '../../api/errors.ts';
import { dialectOf } from '../../config/dialect.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import type { BootSource, MachinePlan } from '../../devices/common/machine-plan.ts';
import { POST_CODES } from '../../plan/post-codes.ts';
import type { RamRegion } from '../../devices/memory/plan.ts';
import type { BootConfig, Machine } from '../machine.ts';
import { chooseAccelerator } from '../../host/system/accelerator.ts';
import { tellAccelerator } from './accelerator-line.ts';
import { layOutMemory } from '../../plan/memory-layout.ts';
import { vcpuPlaces, type AcpiPatch } from '../../plan/acpi-patch.ts';
import { placeDevices, withDevices, type Layout, type Placement } from '../../plan/placement.ts';
import { planMachine, type HostFacts } from '../../plan/machine-plan.ts';
import { QemuError } from '../../qemu/process/qemu-error.ts';
import { startQemu, type Qemu } from '../../qemu/process/qemu.ts';
import { onAbort, type ShutdownSignals } from '../../util/shutdown-signals.ts';
import { reasonOf } from '../../util/errno.ts';
import { checkVcpuAffinity } from '../affinity/check-affinity.ts';
import { pinThreads } from '../affinity/pin-threads.ts';
import { readBalloon, setBalloon } from '../observe/balloon.ts';
import { openGivenFiles } from './inherited-files.ts';
import { watchBursts, watchSharedBursts } from '../devices/disk/bursts.ts';
import { chooseAcpiPatch, patchAcpiTables } from './acpi-patch.ts';
import { lookAtHost, type BootFiles } from './boot-files.ts';
import type { Consoles } from '../consoles.ts';
import { logPostCodes } from '../observe/post-codes.ts';
import { readCounters } from '../observe/counters.ts';
import { countLatencies } from '../observe/latencies.ts';
import { switchOnDevices } from './enable-pci-devices.ts';
import { engineFailure } from '../qemu-failure.ts';
import { lifecycleEvent, type OnVmEvent } from '../events.ts';
import { logWait } from './debugger.ts';
import { askHostPorts, type HostPorts } from '../devices/net/host-ports.ts';
import { createLatest, INFO_PATIENCE_MS } from '../observe/latest.ts';
import type { ExpectedImage } from '../devices/disk/expected-image.ts';
import { createPreparations } from '../devices/preparations.ts';
import { checkSharedRam } from './shared-ram.ts';
import { followResources } from '../observe/resources.ts';

/** How a machine is booted. */
export interface StartOptions {
  readonly signals: ShutdownSignals;
  readonly emit: OnVmEvent;
  /** the vCPUs wait before their first instruction */
  readonly holds?: boolean;
  /** as in {@link Start} */
  readonly hostPorts?: HostPorts;
}

/**
 * Starts a machine for a configuration; its vCPUs run when this returns, unless they are to wait.
 * Rejects with ApiError `failed`, naming device and path, and leaves nothing behind; `signals` end it early.
 */
export async function startMachine(
  config: VmConfig,
  consoles: Consoles,
  { signals, emit, rawImages, holds = false, hostPorts = new Map() }: StartOptions & Pick<Start, 'rawImages'>,
): Promise<Machine> {
  const start: Start = {
    config,
    hostPorts,
    booted: config,
    layout: placeDevices(config),
    rawImages,
    lookAtHost: () => lookAtHost(config),
    chooseAcpiPatch: (facts) => chooseAcpiPatch(config, facts),
    adapt: (plan) => plan,
    begin: async (machine) => {
      emit(lifecycleEvent('booting'));
      await startGuest(machine, holds);
      emit(lifecycleEvent('booted'));
    },
  };
  return launchMachine(start, consoles, signals);
}

async function startGuest(machine: Machine, holds: boolean): Promise<void> {
  const { balloon, gdb } = machine.config;
  const { qmp } = machine.qemu;
  try {
    await switchOnDevices(machine);
    await patchAcpiTables(machine);
    if (balloon !== undefined) await setBalloon(qmp, balloon.size);
    if (gdb === true) logWait();
    else if (!holds) await qmp.execute('cont');
  } catch (error) {
    throw new ApiError('failed', 'The vCPUs could not be started', { cause: error });
  }
}

/** How a machine comes to be: booted, or from the state of another. */
export interface Start {
  /** the VM's configuration, whose parts the placements have */
  readonly config: VmConfig;
  /** what the machine begins with */
  readonly booted: BootConfig;
  readonly layout: Layout;
  /** see `Vm` */
  readonly rawImages: Set<string>;
  /** images that devices had when the state was saved that the machine takes over, by device id */
  readonly images?: ReadonlyMap<string, ExpectedImage>;
  /** ports that forwards had in the machine that this one replaces */
  readonly hostPorts?: HostPorts;
  readonly lookAtHost: () => Promise<BootFiles>;
  /** Decides how the ACPI tables are changed, or says how they were. */
  readonly chooseAcpiPatch: (facts: Pick<HostFacts, 'kernel' | 'accelerator'>) => AcpiPatch | undefined;
  /** The last word on the plan. */
  readonly adapt: (plan: MachinePlan) => MachinePlan;
  /** Brings a machine that has not run yet to where the VM is to be; where it rejects, the machine is ended. */
  readonly begin: (machine: Machine) => Promise<void>;
}

/** Starts QEMU with all that its devices need of the host. Rejects with ApiError `failed`, and leaves nothing behind. */
export async function launchMachine(
  start: Start,
  consoles: Consoles,
  signals: ShutdownSignals,
): Promise<Machine> {
  const { config, layout, booted } = start;
  const began = performance.now();
  const shape = { ...config, ...booted };
  const preparations = createPreparations();
  const accelerator = chooseAccelerator();
  try {
    await checkVcpuAffinity(config);
    await using boot = await start.lookAtHost();
    for (const placement of layout.placements) {
      checkWanted(signals);
      await preparations.add(placement, contextOf(placement, start, signals.waits));
    }
    await using given = await openGivenFiles(config, boot.files);
    const acpiPatch = start.chooseAcpiPatch({ kernel: boot.kernel, accelerator });
    const facts = { accelerator, ...boot, ...given.facts, acpiPatch, facts: preparations.facts() };
    const plan = start.adapt(planMachine(shape, layout.placements, facts));
    const { regions } = layOutMemory(shape);
    checkSharedRam(plan, { placements: layout.placements, facts: facts.facts, regions });
    checkWanted(signals);
    const qemu = await launch(plan, { config: shape, layout }, signals);
    const origin = { firmware: firmwareOf(plan.boot), kernelEntry: entryOf(boot), acpiPatch };
    const machine = newMachine(start, { qemu, preparations, accelerator: accelerator.name, ...origin });
    await begin(machine, start, { consoles, signals, began });
    tellAccelerator(accelerator);
    watchSharedBursts(machine);
    for (const placement of layout.placements) watchBursts(machine, placement);
    return machine;
  } catch (error) {
    await preparations.releaseAll();
    throw error;
  }
}

function contextOf({ id }: Placement, start: Start, signal: AbortSignal) {
  const { config, rawImages, images, hostPorts } = start;
  return { vm: config, rawImages, expected: images?.get(id), hostPorts: hostPorts?.get(id), signal };
}

function firmwareOf(boot: BootSource): Machine['firmware'] {
  return boot.kind === 'firmware' ? 'own' : boot.firmware;
}

function entryOf({ kernel }: BootFiles): number | undefined {
  return kernel.kind === 'none' ? undefined : kernel.entry;
}

/** What a machine was made with. */
type Made = Pick<Machine, 'qemu' | 'preparations' | 'accelerator' | 'acpiPatch' | 'kernelEntry' | 'firmware'>;

function newMachine({ config, layout, booted }: Start, made: Made): Machine {
  const { qemu, preparations, accelerator, acpiPatch } = made;
  const machine: Machine = {
    ...made,
    config: withDevices(config, layout.placements, preparations.completed),
    layout,
    detaching: new Map(),
    hasReleased: false,
    ejected: new Set(),
    onDetached: () => undefined,
    guestFailure: undefined,
    hidden: new Set(),
    detachingVcpus: new Map(),
    dimms: [],
    spareVcpus:
      accelerator === 'tcg' ? vcpuPlaces(booted.cpus, acpiPatch) - booted.cpus.boot_vcpus : Infinity,
    bootConfig: { cpus: booted.cpus, memory: booted.memory, numa: booted.numa },
    hostPorts: new Map(),
    balloonBytes: createLatest(() => readBalloon(qemu.qmp), INFO_PATIENCE_MS),
    diskCounters: createLatest(() => readCounters(qemu.qmp, machine.layout.placements, dialectOf(config))),
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

function launch(
  plan: MachinePlan,
  { config, layout: { placements } }: Pick<Start, 'config' | 'layout'>,
  signals: ShutdownSignals,
): Promise<Qemu> {
  return startQemu(plan, signals).catch((error: unknown) => {
    const zones = zonesMeant(error, layOutMemory(config).regions);
    if (zones.length > 0)
      throw new ApiError('failed', `memory zone ${zones.join(', ')}: ${reasonOf(error)}`, { cause: error });
    throw engineFailure(error, placements, 'QEMU could not be started');
  });
}

/** The zones that QEMU's complaint is about. Where it has no pages it names no part: then those of huge pages are meant. */
function zonesMeant(error: unknown, regions: readonly RamRegion[]): readonly string[] {
  if (!(error instanceof QemuError)) return [];
  const { part, message } = error;
  const lacksPages = part === undefined && message.includes('guest RAM');
  return regions
    .filter(({ id, backing }) => id === part || (lacksPages && backing.hugepages))
    .flatMap(({ zones }) => zones);
}

interface Beginning {
  readonly consoles: Consoles;
  readonly signals: ShutdownSignals;
  /** when the machine began to be made (`performance.now()`) */
  readonly began: number;
}

async function begin(machine: Machine, start: Start, { consoles, signals, began }: Beginning): Promise<void> {
  const stopListening = onAbort(signals.kill, () => void machine.qemu.quit().catch(() => undefined));
  try {
    consoles.attach(machine.qemu.channels, machine.layout.placements);
    const postCodes = machine.qemu.channels.get(POST_CODES);
    if (postCodes !== undefined) logPostCodes(postCodes, began);
    await pinThreads(machine);
    await countAllLatencies(machine);
    machine.hostPorts = await askHostPorts(machine.qemu.qmp, machine.layout.placements);
    await start.begin(machine);
    checkWanted(signals);
  } catch (error) {
    await machine.qemu.quit();
    throw error;
  } finally {
    stopListening();
  }
}

async function countAllLatencies({ config, qemu, layout }: Machine): Promise<void> {
  if (!dialectOf(config).hasLatencies) return;
  for (const placement of layout.placements) await countLatencies(qemu.qmp, placement);
}

/** @throws ApiError where the start was ended: a wait that took too long must not start a machine afterwards */
function checkWanted({ kill }: ShutdownSignals): void {
  if (kill.aborted) throw new ApiError('failed', 'The start was ended: the VM is to be shut down');
}
