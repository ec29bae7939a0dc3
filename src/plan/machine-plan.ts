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
import { layOutMemory, nodeOfSection } from './memory-layout.ts';
import { planMemory } from './memory-steps.ts';
import { qemuIdOf, type Placement } from './placement.ts';

/** What the host knows that the plan depends on; looked up by `vm/` at every boot. */
export interface HostFacts {
  readonly accelerator: {
    readonly name: 'kvm' | 'hvf' | 'tcg';
    readonly properties: Properties;
    /** Linux is told not to check its timer: see {@link withoutTimerCheck} */
    readonly skipsTimerCheck?: boolean;
  };
  /** the kernel as it can be started, or the firmware that is all that is left of it */
  readonly kernel:
    | {
        readonly kind: 'linux' | 'pvh' | 'bzimage' | FirmwareForm;
        readonly path: string;
        /** guest address where PVH enters it */
        readonly entry?: number | undefined;
      }
    | { readonly kind: 'none'; readonly firmware: BuiltInFirmware };
  /** the initramfs as QEMU gets it */
  readonly initramfs: string | undefined;
  /** files with structures of SMBIOS */
  readonly smbios?: readonly string[];
  /** further files of the firmware configuration device */
  readonly fwCfg?: MachinePlan['fwCfg'];
  readonly debugger?: number | undefined;
  /** those of all these files that the engine gets open, by their paths */
  readonly handed?: ReadonlyMap<string, number>;
  /** how the guest's ACPI tables are changed before its kernel starts */
  readonly acpiPatch?: AcpiPatch | undefined;
  /** what the host found or made for each device, by its id */
  readonly facts: ReadonlyMap<string, unknown>;
}

/** The machine that a configuration describes: pure, the same answer for the same question. */
export function planMachine(
  config: VmConfig,
  placements: readonly Placement[],
  host: HostFacts,
): MachinePlan {
  const devices = inMakingOrder(placements).map((placement) =>
    planDevice(placement, host.facts.get(placement.id), config.iommu),
  );
  const { regions, numa } = layOutMemory(config, vcpuPlaces(config.cpus, host.acpiPatch));
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
    machine: { type: 'pc', properties: { ...LEAN, ...whole, ...sgx.machine } },
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
    handed: host.handed ?? new Map(),
    incoming: false,
    steps: devices.some(needsSharedMemory) ? steps.map(shareRam) : steps,
    lateSteps: devices.filter(needsQmp).flat(),
  };
}

/** A debug console at the same port takes its bytes. */
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

/** A PC without what no guest of ours uses: every device less is a probe less at boot. */
const LEAN: Properties = { usb: false, vmport: false, smbus: false, hpet: false, 'suppress-vmdesc': true };

/** What QEMU emulates without help of the processor has 40 bits of physical address. */
const TCG_PHYS_BITS = 40;

/**
 * Copying by the byte is not offered under emulation: a kernel that is told it is fast does all copying and clearing with
 * it, and QEMU does it byte by byte, at an eighth of the speed of words.
 */
const TCG_CPU: Properties = { erms: false, fsrm: false, fsrs: false, fzrm: false };

/** What Windows looks for under a hypervisor: the leaves with `Hv#1`, its clock, timers and interrupt messages. */
const HYPERV: Properties = {
  'hv-relaxed': true,
  'hv-vapic': true,
  'hv-spinlocks': 0x1fff,
  'hv-time': true,
  'hv-vpindex': true,
  'hv-synic': true,
  'hv-stimer': true,
};

/** Without them a guest cannot run virtual machines of its own. */
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
  // Linux 6.9 and later take no further vCPU into a package that is there, unless they know the hypervisor,
  // and they do not know emulation; and no guest takes a package for part of two NUMA nodes
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

function planBoot({ cmdline }: VmConfig, { kernel, initramfs, accelerator }: HostFacts): BootSource {
  switch (kernel.kind) {
    case 'none':
      return kernel;
    case 'rom':
    case 'flash':
      return { kind: 'firmware', form: kernel.kind, path: kernel.path };
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

/** Puts devices first that QEMU must make before others with lower slots. */
function inMakingOrder(placements: readonly Placement[]): Placement[] {
  const isFirst = ({ device }: Placement): boolean => device.madeFirst === true;
  return [...placements.filter(isFirst), ...placements.filter((one) => !isFirst(one))];
}

/**
 * What QEMU makes for one device: at boot and when it is added to a running machine. A device that is added is not
 * put behind the vIOMMU, so `viommu` is for those at boot.
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
