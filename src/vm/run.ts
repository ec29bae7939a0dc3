import { ApiError } from '../api/errors.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { BootSource, BuiltInFirmware, MachinePlan } from '../devices/machine-plan.ts';
import { bootMemory, zonesOf } from '../devices/memory.ts';
import type { RamRegion } from '../devices/ram.ts';
import { chooseAccelerator } from '../host/accelerator.ts';
import type { BootFile } from '../host/boot-file.ts';
import { prepareInitramfs } from '../host/initramfs.ts';
import { prepareKernel } from '../host/kernel.ts';
import { checkBacking } from '../host/ram-backing.ts';
import { checkSgx } from '../host/sgx.ts';
import { layOutMemory } from '../machine/memory-layout.ts';
import { placeDevices, withDevices, type Layout, type Placement } from '../machine/placement.ts';
import { planMachine, type HostFacts } from '../machine/plan.ts';
import { EngineError } from '../qemu/engine-error.ts';
import { startQemu, type Qemu } from '../qemu/process.ts';
import { reasonOf } from '../util/errno.ts';
import { setBalloon } from './balloon.ts';
import { watchBursts, watchSharedBursts } from './bursts.ts';
import type { Consoles } from './consoles.ts';
import { switchOnDevices } from './early-devices.ts';
import { engineFailure } from './engine-failure.ts';
import { turn, type OnVmEvent } from './events.ts';
import { handBootFiles } from './handed-files.ts';
import { askHostPorts, type HostPorts } from './host-ports.ts';
import type { ExpectedImage } from './prepare/expected-image.ts';
import { createPreparations, type Preparations } from './prepare/preparations.ts';
import { writeSmbios } from './smbios.ts';
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
  /** devices that the guest was asked to let go and still has */
  readonly leaving: Set<string>;
  /** those that are taken out for a moment, without the guest's knowing, by QEMU's ids */
  readonly absent: Set<string>;
  /** vCPUs that the guest was asked to let go and still has, by their path in QEMU's object tree */
  readonly leavingVcpus: Set<string>;
  /** sizes in `bytes` of the DIMMs that were added in this life */
  readonly dimms: number[];
  /** vCPUs that QEMU can still start in this life: emulation never forgets one that has gone */
  spareVcpus: number;
  readonly accelerator: HostFacts['accelerator']['name'];
  /** QEMU's firmware that the machine has; `own` is an image that the configuration names */
  readonly firmware: BuiltInFirmware | 'own';
  /** what the machine had when it started: what came later was added */
  readonly booted: BootedShape;
  /** ports of the host that QEMU chose for forwards; another value when a network is added or removed */
  hostPorts: HostPorts;
  /** what the balloon held when it was last looked at, in `bytes` */
  balloonBytes: number;
  readonly qemu: Qemu;
  /** what the devices take of the machine's address spaces; answers within a moment */
  readonly resources: () => Promise<KnownResources>;
  /** Ends the machine and gives back what its devices were given. */
  readonly end: () => Promise<void>;
}

interface StartOptions {
  readonly signal: AbortSignal;
  readonly emit: OnVmEvent;
  /** as in {@link Start} */
  readonly hostPorts?: HostPorts;
}

/**
 * Starts a machine for a configuration; its vCPUs run when this returns.
 * Rejects with ApiError `failed`, naming device and path, and leaves nothing behind; `signal` ends waits for the host.
 */
export async function startRun(
  config: VmConfig,
  consoles: Consoles,
  { signal, emit, hostPorts = new Map() }: StartOptions,
): Promise<Run> {
  const start: Start = {
    config,
    hostPorts,
    booted: config,
    layout: placeDevices(config),
    lookAtHost: () => lookAtHost(config),
    adapt: (plan) => plan,
    begin: async (run) => {
      emit(turn('booting'));
      await startGuest(run);
      emit(turn('booted'));
    },
  };
  return launchRun(start, consoles, signal);
}

async function startGuest(run: Run): Promise<void> {
  const { balloon } = run.config;
  const { qmp } = run.qemu;
  try {
    await switchOnDevices(run);
    if (balloon !== undefined) await setBalloon(qmp, balloon.size);
    await qmp.execute('cont');
  } catch (error) {
    throw new ApiError('failed', 'The vCPUs could not be started', { cause: error });
  }
}

/** What the machine's firmware starts from. */
export interface BootFiles extends Pick<HostFacts, 'kernel' | 'initramfs'>, AsyncDisposable {
  /** those that are open; the others come with QEMU, which finds them by their names */
  readonly files: readonly BootFile[];
}

/** How a machine comes to be: booted, or from the state of another. */
export interface Start {
  /** the VM's configuration, whose parts the placements have */
  readonly config: VmConfig;
  /** what the machine begins with */
  readonly booted: BootedShape;
  readonly layout: Layout;
  /** images that devices had when the state was saved that the machine takes over, by device id */
  readonly images?: ReadonlyMap<string, ExpectedImage>;
  /** ports that forwards had in the machine that this one replaces */
  readonly hostPorts?: HostPorts;
  readonly lookAtHost: () => Promise<BootFiles>;
  /** The last word on the plan. */
  readonly adapt: (plan: MachinePlan) => MachinePlan;
  /** Brings a machine that has not run yet to where the VM is to be; where it rejects, the machine is ended. */
  readonly begin: (run: Run) => Promise<void>;
}

/** Starts QEMU with all that its devices need of the host. Rejects with ApiError `failed`, and leaves nothing behind. */
export async function launchRun(start: Start, consoles: Consoles, signal: AbortSignal): Promise<Run> {
  const { config, layout, booted } = start;
  const shape = { ...config, ...booted };
  const preparations = createPreparations();
  const accelerator = chooseAccelerator();
  try {
    await using boot = await start.lookAtHost();
    for (const placement of layout.placements) {
      await preparations.add(placement, contextOf(placement, start, signal));
    }
    using smbios = await writeSmbios(config.platform);
    using bootFiles = await handBootFiles(boot.files);
    const handed = new Map([...smbios.fds, ...bootFiles.fds]);
    const facts = { accelerator, ...boot, smbios: smbios.paths, handed, facts: preparations.facts() };
    const plan = start.adapt(planMachine(shape, layout.placements, facts));
    const { regions } = layOutMemory(shape);
    checkSharedRam(plan, { placements: layout.placements, facts: facts.facts, regions });
    const qemu = await launch(plan, { config: shape, layout }, signal);
    const run: Run = {
      config: withDevices(config, layout.placements, preparations.completed),
      layout,
      preparations,
      leaving: new Set(),
      absent: new Set(),
      leavingVcpus: new Set(),
      dimms: [],
      spareVcpus: accelerator.name === 'tcg' ? booted.cpus.max_vcpus - booted.cpus.boot_vcpus : Infinity,
      accelerator: accelerator.name,
      firmware: firmwareOf(plan.boot),
      booted: { cpus: booted.cpus, memory: booted.memory, numa: booted.numa },
      balloonBytes: 0,
      hostPorts: new Map(),
      qemu,
      resources: followResources(qemu.qmp),
      end: async () => {
        await qemu.quit();
        await preparations.releaseAll();
      },
    };
    await begin(run, start, consoles);
    watchSharedBursts(run);
    for (const placement of layout.placements) watchBursts(run, placement);
    return run;
  } catch (error) {
    await preparations.releaseAll();
    throw error;
  }
}

function contextOf({ id }: Placement, { config, images, hostPorts }: Start, signal: AbortSignal) {
  return { vm: config, expected: images?.get(id), hostPorts: hostPorts?.get(id), signal };
}

function firmwareOf(boot: BootSource): Run['firmware'] {
  return boot.kind === 'firmware' ? 'own' : boot.firmware;
}

function launch(
  plan: MachinePlan,
  { config, layout: { placements } }: Pick<Start, 'config' | 'layout'>,
  signal: AbortSignal,
): Promise<Qemu> {
  return startQemu(plan, signal).catch((error: unknown) => {
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

async function begin(run: Run, start: Start, consoles: Consoles): Promise<void> {
  try {
    consoles.attach(run.qemu.channels);
    run.hostPorts = await askHostPorts(run.qemu.qmp, run.layout.placements);
    await start.begin(run);
  } catch (error) {
    await run.qemu.quit();
    throw error;
  }
}

/** What vm.create must not look at and vm.boot must: what the machine starts from and what its RAM is made of. */
export async function lookAtHost(config: VmConfig): Promise<BootFiles> {
  const accelerator = chooseAccelerator().name;
  if (config.cpus.kvm_hyperv && accelerator !== 'kvm') {
    // QEMU would pass over it without a word
    throw new ApiError('failed', `cpus.kvm_hyperv: needs KVM, the machine would run on ${accelerator}`);
  }
  for (const zone of zonesOf(config.memory)) await naming(`memory zone ${zone.id}`, checkBacking(zone));
  for (const { id } of config.sgx_epc ?? []) {
    await naming(`sgx_epc ${id}`, checkSgx(accelerator));
  }
  return openBootFiles(config);
}

/** Opens what the machine starts from; none stays open when one cannot be opened. */
async function openBootFiles(config: VmConfig): Promise<BootFiles> {
  const member = config.payload?.firmware === undefined ? 'kernel' : 'firmware';
  const kernel = await naming(`${member} ${config.kernel.path}`, prepareKernel(config.kernel.path));
  try {
    const initramfs = await initramfsOf(config);
    const files = initramfs === undefined ? [kernel] : [kernel, initramfs];
    const dispose = async (): Promise<void> => {
      for (const file of files) await file[Symbol.asyncDispose]();
    };
    return { kernel, initramfs: initramfs?.path, files, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await kernel[Symbol.asyncDispose]();
    throw error;
  }
}

/** A failure's reason behind the name of what it is about. */
function naming<T>(what: string, look: Promise<T>): Promise<T> {
  return look.catch((error: unknown) => {
    throw new ApiError('failed', `${what}: ${reasonOf(error)}`);
  });
}

async function initramfsOf({ initramfs, memory }: VmConfig): Promise<BootFile | undefined> {
  if (initramfs === undefined) return undefined;
  const prepared = prepareInitramfs(initramfs.path, { memory: bootMemory(memory) });
  return naming(`initramfs: ${initramfs.path}`, prepared);
}
