import type { VmCounters } from '../api/replies.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { BuiltInFirmware } from '../devices/common/machine-plan.ts';
import type { AcpiPatch } from '../plan/acpi-patch.ts';
import type { Step } from '../devices/common/step.ts';
import type { HostFacts } from '../plan/machine-plan.ts';
import type { MemoryLayout } from '../plan/memory-layout.ts';
import type { Layout, Placement } from '../plan/placement.ts';
import type { Qemu } from '../qemu/process/qemu.ts';
import type { HostPorts } from './devices/net/host-ports.ts';
import type { Preparations } from './devices/preparations.ts';
import type { Latest } from './observe/latest.ts';
import type { VcpuRemoval } from './hotplug/vcpu-removal.ts';
import type { FormerStats } from './observe/former-stats.ts';
import type { KnownResources } from './observe/resources.ts';
import type { SnapshotBase } from './snapshot/chain/snapshot-base.ts';

/** Members of a configuration that a resize changes while a machine runs; `BootConfig` has the values of the start. */
export type BootConfig = Pick<VmConfig, 'cpus' | 'memory' | 'numa'>;

/**
 * The machine of a VM: one QEMU process from its start to its exit, and the VMM's facts about it. `launch/` makes it; a reboot
 * makes another one. Hot-plug and resizes change the members that are not `readonly`, and the collections.
 */
export interface Machine {
  /** the VM's configuration with ids, MAC addresses and image formats that the start chose; input of the next boot */
  readonly config: VmConfig;
  /** vCPUs, RAM and NUMA nodes at the start */
  readonly bootConfig: BootConfig;
  /** RAM and NUMA nodes of `bootConfig` */
  readonly ram: MemoryLayout;
  /** ids of RAM that is a private mapping of a file that must not change, e.g. of a snapshot */
  snapshotRam: ReadonlySet<string>;
  readonly qemu: Qemu;
  readonly accelerator: HostFacts['accelerator']['name'];
  /** QEMU's firmware that the machine has; `own` is an image that the configuration names */
  readonly firmware: BuiltInFirmware | 'own';
  /** size of the image of EFI variables in flash, in `bytes`; undefined without one */
  readonly efiVariables: number | undefined;
  /** difference between the ACPI tables that the guest's kernel reads and those of QEMU */
  readonly acpiPatch: AcpiPatch | undefined;
  /** guest address of the kernel's first instruction; undefined if unknown, or if the machine does not boot from a kernel */
  readonly kernelEntry: number | undefined;
  /** ids and slots of the devices; replaced when a device is attached or detached */
  layout: Layout;
  /** steps by which QEMU has made each device, by id */
  readonly deviceSteps: Map<string, readonly Step[]>;
  /** host resources of the devices */
  readonly preparations: Preparations;
  /** ports of the host that QEMU chose for forwards; replaced when a network is attached or detached */
  hostPorts: HostPorts;
  /** devices that the guest was asked to release and still has, by id, with the time of the last request (`performance.now()`) */
  readonly detaching: Map<string, number>;
  /** the guest has released a device before: its kernel has hot-plug */
  hasReleased: boolean;
  /** devices that the guest has ejected, whose slots and host resources are not released yet */
  readonly ejected: Set<Placement>;
  /** called with a device when its slot and host resources are released */
  onDetached: (placement: Placement) => void;
  /** devices that QEMU lacks while it writes its state, which the guest does not notice; by QEMU's ids */
  readonly hidden: Set<string>;
  /** vCPUs that the guest was asked to release and has not confirmed, by number */
  readonly detachingVcpus: Map<number, VcpuRemoval>;
  /** number of vCPUs that QEMU can still add: with emulation it never frees the place of a removed vCPU */
  spareVcpus: number;
  /** the snapshot that the machine was restored from or last saved as; the base of a differential one */
  snapshotBase: SnapshotBase | undefined;
  /** sizes of the DIMMs that were added, in `bytes` */
  readonly dimms: number[];
  /** failure of the guest since the start, e.g. a panic of its kernel */
  guestFailure: string | undefined;
  /** throttle groups whose one-time burst has ended, by QEMU's id */
  endedBursts: Set<string>;
  /** devices whose drivers are active, by id, as far as events were emitted; undefined if they are not watched */
  activeDrivers: ReadonlySet<string> | undefined;
  /** statistics of disks in the QEMUs from which this one continues */
  formerStats: FormerStats;
  /** size of the balloon, in `bytes` */
  readonly balloonBytes: Latest<number>;
  /** QEMU's counters of disks */
  readonly diskCounters: Latest<VmCounters>;
  /** Returns the address ranges of the devices; answers within 30 ms. */
  readonly resources: () => Promise<KnownResources>;
  /** Stops QEMU and releases the host resources of the devices. */
  readonly end: () => Promise<void>;
}
