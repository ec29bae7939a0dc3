import { ApiError } from '../api/errors.ts';
import type { VmCounters } from '../api/replies.ts';
import { dialectOf } from '../config/dialect.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { BootSource, BuiltInFirmware, MachinePlan } from '../devices/machine-plan.ts';
import { POST_CODES } from '../devices/post-codes.ts';
import type { RamRegion } from '../devices/ram.ts';
import { chooseAccelerator } from '../host/accelerator.ts';
import { tellAccelerator } from './accelerator-line.ts';
import { layOutMemory } from '../machine/memory-layout.ts';
import { vcpuPlaces, type AcpiPatch } from '../machine/acpi-patch.ts';
import { placeDevices, withDevices, type Layout, type Placement } from '../machine/placement.ts';
import { planMachine, type HostFacts } from '../machine/plan.ts';
import { EngineError } from '../qemu/engine-error.ts';
import { startQemu, type Qemu } from '../qemu/process.ts';
import { onAbort, type EndSignals } from '../util/end-signals.ts';
import { reasonOf } from '../util/errno.ts';
import { checkVcpuAffinity, pinThreads } from './affinity.ts';
import { readBalloon, setBalloon } from './balloon.ts';
import { openGivenFiles } from './given-files.ts';
import { watchBursts, watchSharedBursts } from './bursts.ts';
import { chooseAcpiPatch, patchAcpiTables } from './acpi-patch.ts';
import { lookAtHost, type BootFiles } from './boot-files.ts';
import type { Consoles } from './consoles.ts';
import { logPostCodes } from './post-codes.ts';
import { readCounters } from './counters.ts';
import { countLatencies } from './latencies.ts';
import { switchOnDevices } from './early-devices.ts';
import { engineFailure } from './engine-failure.ts';
import { turn, type OnVmEvent } from './events.ts';
import { logWait } from './debugger.ts';
import { askHostPorts, type HostPorts } from './host-ports.ts';
import { createLatest, INFO_PATIENCE_MS, type Latest } from './latest.ts';
import type { ExpectedImage } from './prepare/expected-image.ts';
import { createPreparations, type Preparations } from './prepare/preparations.ts';
import { checkSharedRam } from './shared-ram.ts';
import { followResources, type KnownResources } from './resources.ts';

/** The parts of a configuration that a machine starts with and that grow while it runs. */
export type BootedShape = Pick<VmConfig, 'cpus' | 'memory' | 'numa'>;

/** One life of a VM's machine, from boot or reboot to its end. */
export interface Run {
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
export async function startRun(
  config: VmConfig,
  consoles: Consoles,
  { signals, emit, rawImages, holds = false, hostPorts = new Map() }: StartOptions & Pick<Start, 'rawImages'>,
): Promise<Run> {
  const start: Start = {
    config,
    hostPorts,
    booted: config,
    layout: placeDevices(config),
    rawImages,
    lookAtHost: () => lookAtHost(config),
    chooseAcpiPatch: (facts) => chooseAcpiPatch(config, facts),
    adapt: (plan) => plan,
    begin: async (run) => {
      emit(turn('booting'));
      await startGuest(run, holds);
      emit(turn('booted'));
    },
  };
  return launchRun(start, consoles, signals);
}

async function startGuest(run: Run, holds: boolean): Promise<void> {
  const { balloon, gdb } = run.config;
  const { qmp } = run.qemu;
  try {
    await switchOnDevices(run);
    await patchAcpiTables(run);
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
  readonly begin: (run: Run) => Promise<void>;
}

/** Starts QEMU with all that its devices need of the host. Rejects with ApiError `failed`, and leaves nothing behind. */
export async function launchRun(start: Start, consoles: Consoles, signals: EndSignals): Promise<Run> {
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
    const run = newRun(start, { qemu, preparations, accelerator: accelerator.name, ...origin });
    await begin(run, start, { consoles, signals, began });
    tellAccelerator(accelerator);
    watchSharedBursts(run);
    for (const placement of layout.placements) watchBursts(run, placement);
    return run;
  } catch (error) {
    await preparations.releaseAll();
    throw error;
  }
}

function contextOf({ id }: Placement, start: Start, signal: AbortSignal) {
  const { config, rawImages, images, hostPorts } = start;
  return { vm: config, rawImages, expected: images?.get(id), hostPorts: hostPorts?.get(id), signal };
}

function firmwareOf(boot: BootSource): Run['firmware'] {
  return boot.kind === 'firmware' ? 'own' : boot.firmware;
}

function entryOf({ kernel }: BootFiles): number | undefined {
  return kernel.kind === 'none' ? undefined : kernel.entry;
}

/** What a machine was made with. */
type Made = Pick<Run, 'qemu' | 'preparations' | 'accelerator' | 'acpiPatch' | 'kernelEntry' | 'firmware'>;

function newRun({ config, layout, booted }: Start, made: Made): Run {
  const { qemu, preparations, accelerator, acpiPatch } = made;
  const run: Run = {
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
    diskCounters: createLatest(() => readCounters(qemu.qmp, run.layout.placements, dialectOf(config))),
    resources: followResources(qemu.qmp),
    end: async () => {
      try {
        await qemu.quit();
      } finally {
        await preparations.releaseAll();
      }
    },
  };
  return run;
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
  if (!(error instanceof EngineError)) return [];
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

async function begin(run: Run, start: Start, { consoles, signals, began }: Beginning): Promise<void> {
  const stopListening = onAbort(signals.kill, () => void run.qemu.quit().catch(() => undefined));
  try {
    consoles.attach(run.qemu.channels, run.layout.placements);
    const postCodes = run.qemu.channels.get(POST_CODES);
    if (postCodes !== undefined) logPostCodes(postCodes, began);
    await pinThreads(run);
    await countAllLatencies(run);
    run.hostPorts = await askHostPorts(run.qemu.qmp, run.layout.placements);
    await start.begin(run);
    checkWanted(signals);
  } catch (error) {
    await run.qemu.quit();
    throw error;
  } finally {
    stopListening();
  }
}

async function countAllLatencies({ config, qemu, layout }: Run): Promise<void> {
  if (!dialectOf(config).hasLatencies) return;
  for (const placement of layout.placements) await countLatencies(qemu.qmp, placement);
}

/** @throws ApiError where the start was ended: a wait that took too long must not start a machine afterwards */
function checkWanted({ kill }: EndSignals): void {
  if (kill.aborted) throw new ApiError('failed', 'The start was ended: the VM is to be shut down');
}
