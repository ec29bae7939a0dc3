/*
 * plan/ is pure: from a configuration (VmConfig) and host facts it computes the placement of devices (ids, PCI slots), the layout
 * of guest memory, and the machine plan that qemu/ renders. It opens nothing and starts nothing. The same input gives the same
 * plan.
 */
import type { VmConfig } from '../config/vm-config.ts';
import type {
  BootSource,
  BuiltInFirmware,
  FirmwareForm,
  MachinePlan,
  Properties,
} from '../devices/common/machine-plan.ts';
import { wantsHugePages } from '../devices/memory/zones.ts';
import { ramObject, shareRam } from '../devices/memory/plan.ts';
import { POST_CODE_PORT, POST_CODE_STEPS } from './post-codes.ts';
import { planGroups } from '../devices/rate-limit-group/plan.ts';
import { planSgx } from '../devices/sgx-epc/plan.ts';
import { needsQmp, needsSharedMemory, type Step } from '../devices/common/step.ts';
import { usesAcpi, withoutTimerCheck } from './kernel-command-line.ts';
import { vcpuPlaces, type AcpiPatch } from './acpi-patch.ts';
import { layOutMemory, nodeOfSection, type MemoryLayout } from './memory-layout.ts';
import { planMemory } from './memory-steps.ts';
import { qemuIdOf, type Placement } from './placement.ts';

/** Host facts that the plan depends on; `vm/launch/` finds them at every boot. */
export interface HostFacts {
  readonly accelerator: {
    readonly name: 'kvm' | 'hvf' | 'tcg';
    readonly properties: Properties;
    /** the kernel gets `no_timer_check`: see {@link withoutTimerCheck} */
    readonly skipsTimerCheck?: boolean;
  };
  /** the kernel in the form that QEMU starts, or only a firmware for a machine whose kernel has started already */
  readonly kernel:
    | {
        readonly kind: 'linux' | 'pvh' | 'bzimage' | FirmwareForm;
        readonly path: string;
        /** guest address of its PVH entry point */
        readonly entry?: number | undefined;
      }
    | { readonly kind: 'none'; readonly firmware: BuiltInFirmware };
  /** name of the image of EFI variables; undefined: firmware without one, or no firmware */
  readonly variables?: string | undefined;
  /** path of the unpacked initramfs */
  readonly initramfs: string | undefined;
  /** paths of files with SMBIOS structures */
  readonly smbios?: readonly string[];
  /** files of the firmware configuration device (fw_cfg) */
  readonly fwCfg?: MachinePlan['fwCfg'];
  readonly debugger?: number | undefined;
  /** file descriptors that QEMU inherits for these files, by their paths */
  readonly inherited?: ReadonlyMap<string, number>;
  /** changes to the guest's ACPI tables before its kernel starts */
  readonly acpiPatch?: AcpiPatch | undefined;
  /** host facts of each device, by its id */
  readonly facts: ReadonlyMap<string, unknown>;
}

/** Steps of a machine's devices, by their ids, in the order in which QEMU makes them. */
export type DeviceSteps = ReadonlyMap<string, readonly Step[]>;

/** The parts of a plan that a machine keeps: later operations on a device or on RAM need them. */
export interface PlannedParts {
  readonly deviceSteps: DeviceSteps;
  /** RAM and NUMA nodes at the start */
  readonly ram: MemoryLayout;
}

/** Plans the devices and the RAM of a machine. Pure. */
export function planParts(
  config: VmConfig,
  placements: readonly Placement[],
  { facts, acpiPatch }: Pick<HostFacts, 'facts' | 'acpiPatch'>,
): PlannedParts {
  const deviceSteps = inMakingOrder(placements).map((placement): [string, readonly Step[]] => [
    placement.id,
    planDevice(placement, facts.get(placement.id), config.iommu),
  ]);
  return {
    deviceSteps: new Map(deviceSteps),
    ram: layOutMemory(config, vcpuPlaces(config.cpus, acpiPatch)),
  };
}

/** Plans the machine of a configuration: a pure function. */
export function planMachine(
  config: VmConfig,
  placements: readonly Placement[],
  host: HostFacts,
  { deviceSteps, ram: { regions, numa } }: PlannedParts = planParts(config, placements, host),
): MachinePlan {
  const devices = [...deviceSteps.values()];
  const sgx = planSgx(config.sgx_epc ?? [], (section) => nodeOfSection(config, section));
  const [ram] = regions;
  const steps = [
    ...regions.map(ramObject),
    ...sgx.steps,
    ...planGroups(config.rate_limit_groups),
    ...devices.filter((steps) => !needsQmp(steps)).flat(),
    ...planPostCodes(config),
  ];
  const whole = numa.length === 0 && ram !== undefined ? { 'memory-backend': ram.id } : {};
  return {
    machine: { type: 'pc', properties: { ...LEAN, hpet: needsHpet(config, host), ...whole, ...sgx.machine } },
    accelerator: host.accelerator,
    cpu: withProperties(planCpu(config, host), sgx.cpu),
    smp: planTopology(config, host),
    memory: planMemory(config, memoryDeviceBytes(placements, host)),
    numa,
    boot: planBoot(config, host),
    smbios: host.smbios ?? [],
    fwCfg: host.fwCfg ?? [],
    debugger: host.debugger,
    hugePages: wantsHugePages(config.memory),
    inherited: host.inherited ?? new Map(),
    incoming: false,
    steps: devices.some(needsSharedMemory) ? steps.map(shareRam) : steps,
    lateSteps: devices.filter(needsQmp).flat(),
  };
}

/** POST codes are logged unless a debug console uses their port. */
function planPostCodes({ debug_console: debug }: VmConfig): readonly Step[] {
  const isTaken = debug !== undefined && debug.mode !== 'Off' && debug.iobase === POST_CODE_PORT;
  return isTaken ? [] : POST_CODE_STEPS;
}

function withProperties({ model, properties }: MachinePlan['cpu'], more: Properties): MachinePlan['cpu'] {
  return { model, properties: { ...properties, ...more } };
}

/** Returns the space that the devices take among memory devices, in `bytes`. */
function memoryDeviceBytes(placements: readonly Placement[], { facts }: HostFacts): number {
  const sizes = placements.map(({ device, id }) =>
    facts.has(id) ? (device.memorySize?.(facts.get(id)) ?? 0) : 0,
  );
  return sizes.reduce((total, size) => total + size, 0);
}

/** Disables PC devices that no guest needs: each saves a probe at boot. */
const LEAN: Properties = { usb: false, vmport: false, smbus: false, 'suppress-vmdesc': true };

/**
 * Returns true if the guest needs an HPET as its clock. Without one, an emulated guest reads the time from the ACPI PM timer. While a
 * vCPU is ejected, QEMU refuses accesses of the other vCPUs to the device of that timer, which is the device of the ejection too: the
 * read returns 0, the guest's clock jumps by up to 5 s, and its timers may stop for ever. With KVM the guest has kvm-clock.
 */
function needsHpet({ cpus }: VmConfig, { accelerator }: HostFacts): boolean {
  return accelerator.name === 'tcg' && cpus.max_vcpus > 1;
}

/** Physical address width in `bits` of QEMU's emulated CPU. */
const TCG_PHYS_BITS = 40;

/**
 * Hides fast string instructions under emulation. With them a kernel copies and clears all memory by `rep movsb`, which QEMU
 * executes byte by byte, at an eighth of the speed of words.
 */
const TCG_CPU: Properties = { erms: false, fsrm: false, fsrs: false, fzrm: false };

/** Hyper-V enlightenments for Windows: the `Hv#1` leaves, clock, timers and interrupt messages. */
const HYPERV: Properties = {
  'hv-relaxed': true,
  'hv-vapic': true,
  'hv-spinlocks': 0x1fff,
  'hv-time': true,
  'hv-vpindex': true,
  'hv-synic': true,
  'hv-stimer': true,
};

/** Without these CPU features a guest cannot run virtual machines (nested virtualization). */
const NO_NESTED: Properties = { vmx: false, svm: false };

function planCpu({ cpus }: VmConfig, { accelerator }: HostFacts): MachinePlan['cpu'] {
  const bits = cpus.max_phys_bits;
  const nested = cpus.nested === false ? NO_NESTED : {};
  if (accelerator.name === 'tcg') {
    return {
      model: 'max',
      properties: {
        ...TCG_CPU,
        ...nested,
        ...(bits === undefined ? {} : { 'phys-bits': Math.min(bits, TCG_PHYS_BITS) }),
      },
    };
  }
  return {
    model: 'host',
    properties: {
      'host-phys-bits': true,
      ...nested,
      ...(bits === undefined ? {} : { 'host-phys-bits-limit': bits }),
      ...(cpus.kvm_hyperv ? HYPERV : {}),
    },
  };
}

function planTopology({ cpus, numa }: VmConfig, { accelerator, acpiPatch }: HostFacts): Properties {
  const { topology, boot_vcpus: boot, max_vcpus: max } = cpus;
  const places = vcpuPlaces(cpus, acpiPatch);
  // Linux 6.9 and later add no vCPU to a package that is present, unless they know the hypervisor; they do not know
  // emulation. A package must not be part of two NUMA nodes.
  const apart =
    (accelerator.name === 'tcg' && max > boot) || numa !== undefined
      ? { sockets: places, cores: 1, threads: 1 }
      : {};
  return {
    cpus: boot,
    maxcpus: places,
    ...(topology === undefined
      ? apart
      : {
          sockets: topology.packages,
          dies: topology.dies_per_package,
          cores: topology.cores_per_die,
          threads: topology.threads_per_core,
        }),
  };
}

function planBoot(
  { cmdline }: VmConfig,
  { kernel, variables, initramfs, accelerator }: HostFacts,
): BootSource {
  switch (kernel.kind) {
    case 'none':
      return kernel;
    case 'rom':
    case 'flash':
      // a ROM and a flash device cannot both end at 4 GiB
      return variables === undefined
        ? { kind: 'firmware', form: kernel.kind, path: kernel.path }
        : { kind: 'firmware', form: 'flash', path: kernel.path, variables };
    default:
      return {
        kind: 'kernel',
        path: kernel.path,
        initramfs,
        cmdline:
          accelerator.skipsTimerCheck === true && kernel.kind !== 'pvh'
            ? withoutTimerCheck(cmdline.args)
            : cmdline.args,
        firmware: kernel.kind === 'pvh' || !usesAcpi(cmdline.args) ? 'bios-256k.bin' : 'qboot.rom',
      };
  }
}

/** Puts devices first that QEMU must create before devices with lower slots. */
function inMakingOrder(placements: readonly Placement[]): Placement[] {
  const isFirst = ({ device }: Placement): boolean => device.madeFirst === true;
  return [...placements.filter(isFirst), ...placements.filter((one) => !isFirst(one))];
}

/**
 * Plans the steps that create one device, at boot and at hot-plug. A hot-plugged device is not behind the vIOMMU; `viommu`
 * counts for devices at boot only.
 */
export function planDevice(placement: Placement, facts: unknown, viommu = false): readonly Step[] {
  const { device, config, id, slot, added } = placement;
  const at = {
    id,
    qemuId: qemuIdOf(placement),
    addr: slot === undefined ? undefined : `0x${slot.toString(16)}`,
    facts,
    behindIommu: viommu && added !== true && config !== true && config['iommu'] === true,
  };
  return device.plan?.(config, at) ?? [];
}
