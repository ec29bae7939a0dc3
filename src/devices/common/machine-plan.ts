import type { Step } from './step.ts';

/** Properties of a part of the machine; names and values are ours, never a user's text. */
export type Properties = Readonly<Record<string, string | number | boolean>>;

/**
 * Firmware that comes with QEMU, by the name of its file. qboot starts Linux 80 ms sooner than SeaBIOS; it assigns no
 * addresses to PCI devices, which Linux does itself and other kernels and firmware expect to be done.
 */
export type BuiltInFirmware = 'qboot.rom' | 'bios-256k.bin';

/** How QEMU holds a firmware image: mapped as a ROM, or in a read-only flash device, which takes blocks of 4 KiB. */
export type FirmwareForm = 'rom' | 'flash';

/** What the machine starts from. Paths and the command line are passed as arguments of their own, never joined. */
export type BootSource =
  | {
      readonly kind: 'kernel';
      /** an ELF with a PVH note, or a bzImage */
      readonly path: string;
      readonly initramfs: string | undefined;
      readonly cmdline: string;
      readonly firmware: BuiltInFirmware;
    }
  | { readonly kind: 'firmware'; readonly form: FirmwareForm; readonly path: string }
  /** the machine takes the state of another whose guest no longer reads what it started from */
  | { readonly kind: 'none'; readonly firmware: BuiltInFirmware };

/** The machine's RAM, and the room for more of it. */
export interface MemoryPlan {
  /** what the guest starts with, in `bytes` */
  readonly size: number;
  /** DIMMs that can be added while it runs */
  readonly slots: number;
  /** `size` and the room in the guest's address space for virtio-mem, DIMMs and pmem, in `bytes` */
  readonly max: number;
}

/** A statement about the guest's NUMA nodes; all values are ours. */
export type NumaOption =
  | {
      readonly kind: 'node';
      readonly node: number;
      /** vCPU numbers, first and last of each range */
      readonly cpus: readonly (readonly [number, number])[];
      /** id of the object that is its RAM; undefined: it has none */
      readonly memory: string | undefined;
    }
  | { readonly kind: 'distance'; readonly from: number; readonly to: number; readonly distance: number };

/** A whole machine as QEMU gets it: `qemu/process/arguments.ts` renders it at boot. */
export interface MachinePlan {
  readonly machine: { readonly type: string; readonly properties: Properties };
  readonly accelerator: { readonly name: string; readonly properties: Properties };
  readonly cpu: { readonly model: string; readonly properties: Properties };
  readonly smp: Properties;
  readonly memory: MemoryPlan;
  /** empty where the guest has no NUMA nodes; the machine's RAM is then one object */
  readonly numa: readonly NumaOption[];
  readonly boot: BootSource;
  /** files with the structures of SMBIOS that are given; their names are ours */
  readonly smbios: readonly string[];
  /** further files of the firmware configuration device: checked names, and files of the VMM or of the user */
  readonly fwCfg: readonly { readonly name: string; readonly file: string }[];
  /** a listening socket of the VMM's on which QEMU serves a debugger */
  readonly debugger: number | undefined;
  /** transparent huge pages may hold QEMU's memory */
  readonly hugePages: boolean;
  /** files that QEMU gets open, by their paths in this plan: it may not be allowed to open them itself */
  readonly handed: ReadonlyMap<string, number>;
  /** the machine waits for the state of another one and never starts by itself */
  readonly incoming: boolean;
  /** every back-end and device, in the order in which they are made */
  readonly steps: readonly Step[];
  /** those that only QMP can make: done before the guest's first instruction */
  readonly lateSteps: readonly Step[];
}
