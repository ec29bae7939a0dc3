import { ApiError } from '../../api/errors.ts';
import type { VmCounters } from '../../api/replies.ts';
import { dialectOf } from '../../config/dialect.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import type { BootSource, BuiltInFirmware, MachinePlan } from '../../devices/common/machine-plan.ts';
import { POST_CODES } from '../../devices/common/post-codes.ts';
import type { RamRegion } from '../../devices/memory/plan.ts';
import { chooseAccelerator } from '../../host/system/accelerator.ts';
import { tellAccelerator } from './accelerator-line.ts';
import { layOutMemory } from '../../plan/memory-layout.ts';
import { vcpuPlaces, type AcpiPatch } from '../../plan/acpi-patch.ts';
import { placeDevices, withDevices, type Layout, type Placement } from '../../plan/placement.ts';
import { planMachine, type HostFacts } from '../../plan/machine-plan.ts';
import { QemuError } from '../../qemu/process/qemu-error.ts';
import { startQemu, type Qemu } from '../../qemu/process/qemu.ts';
import { onAbort, type EndSignals } from '../../util/shutdown-signals.ts';
import { reasonOf } from '../../util/errno.ts';
import { checkVcpuAffinity, pinThreads } from './affinity.ts';
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
import { createLatest, INFO_PATIENCE_MS, type Latest } from '../observe/latest.ts';
import type { ExpectedImage } from '../devices/disk/expected-image.ts';
import { createPreparations, type Preparations } from '../devices/preparations.ts';
import { checkSharedRam } from './shared-ram.ts';
import { followResources, type KnownResources } from '../observe/resources.ts';

/** The parts of a configuration that a machine starts with and that grow while it runs. */
export type BootedShape = Pick<VmConfig, 'cpus' | 'memory' | 'numa'>;

/** One life of a VM's machine, from boot or reboot to its end. */
export interface Machine {
  /** the configuration with what the boot found out: ids, MAC addresses; the next boot starts from it */
  readonly config: VmConfig;
  /** where the devices are; another value when one is added or removed */
  layout: Layout;
  readonly preparations: Preparations;
  /** devices that the guest was asked to release and still has, by id, and when it was asked last (`performance.now()`) */
  readonly leaving: Map<string, number>;
  /** whether the guest has released a device in this run, which says that its kernel has hot-plug */
  hasReleased: boolean;
  /** devices that the guest has released, whose slots and host resources are still to be given back */
  readonly ejected: Set<Placement>;
  /** called with a device when all that it had is free again */
  tellRemoved: (placement: Placement) => void;
  /** what went wrong in the guest in this life, e.g. a panic of its kernel */
  trouble: string | undefined;
  /** those that are taken out for a moment, without the guest's knowing, by QEMU's ids */
  readonly absent: Set<string>;
  /** vCPUs that the guest was asked to release, by number, and since when QEMU has none (`performance.now()`) */
  readonly leavingVcpus: Map<number, number | undefined>;
  /** sizes in `bytes` of the DIMMs that were added in this life */
  readonly dimms: number[];
  /** vCPUs that QEMU can still start in this life: emulation never forgets one that has gone */
  spareVcpus: number;
  readonly accelerator: HostFacts['accelerator']['name'];
  /** how the ACPI tables that the guest's kernel reads differ from those that QEMU makes */
  readonly acpiPatch: AcpiPatch | undefined;
  /** guest address of the kernel's first instruction, where the machine starts from one and it is known */
  readonly kernelEntry: number | undefined;
  /** QEMU's firmware that the machine has; `own` is an image that the configuration names */
  readonly firmware: BuiltInFirmware | 'own';
  /** what the machine had when it started: what came later was added */
  readonly booted: BootedShape;
  /** ports of the host that QEMU chose for forwards; another value when a network is added or removed */
  hostPorts: HostPorts;
  /** what the balloon holds, in `bytes` */
  readonly balloonBytes: Latest<number>;
  /** what QEMU counts for disks */
  readonly diskCounters: Latest<VmCounters>;
  readonly qemu: Qemu;
  /** what the devices take of the machine's address spaces; answers within a moment */
  readonly resources: () => Promise<KnownResources>;
  /** Ends the machine and gives back what its devices were given. */
  readonly end: () => Promise<void>;
}

/** How a machine is booted. */
export interface StartOptions {
  readonly signals: EndSignals;
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
  readonly booted: BootedShape;
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
export async function launchMachine(start: Start, consoles: Consoles, signals: EndSignals): Promise<Machine> {
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
    leaving: new Map(),
    hasReleased: false,
    ejected: new Set(),
    tellRemoved: () => undefined,
    trouble: undefined,
    absent: new Set(),
    leavingVcpus: new Map(),
    dimms: [],
    spareVcpus:
      accelerator === 'tcg' ? vcpuPlaces(booted.cpus, acpiPatch) - booted.cpus.boot_vcpus : Infinity,
    booted: { cpus: booted.cpus, memory: booted.memory, numa: booted.numa },
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
  signals: EndSignals,
): Promise<Qemu> {
  return startQemu(plan, signals).catch((error: unknown) => {
    const zones = zonesMeant(error, layOutMemory(config).regions);
    if (zones.length > 0) throw new ApiError('failed', `memory zone ${zones.join(', ')}: ${reasonOf(error)}`);
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
  readonly signals: EndSignals;
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
function checkWanted({ kill }: EndSignals): void {
  if (kill.aborted) throw new ApiError('failed', 'The start was ended: the VM is to be shut down');
}
