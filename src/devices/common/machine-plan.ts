import type { Step } from './step.ts';

/** Properties of a part of the machine; names and values are Nephos's own, never a user's text. */
export type Properties = Readonly<Record<string, string | number | boolean>>;

/**
 * Firmware in QEMU's package, by the name of its file. qboot starts Linux 80 ms sooner than SeaBIOS; it assigns no
 * addresses to PCI devices, which Linux does itself and which other kernels and firmware expect.
 */
export type BuiltInFirmware = 'qboot.rom' | 'bios-256k.bin';

/** Form of a firmware image in QEMU: a ROM, or a read-only flash device with blocks of 4 KiB. */
export type FirmwareForm = 'rom' | 'flash';

/** Boot source of the machine. Paths and the command line are separate arguments, never joined. */
export type BootSource =
  | {
      readonly kind: 'kernel';
      /** an ELF with a PVH note, or a bzImage */
      readonly path: string;
      readonly initramfs: string | undefined;
      readonly cmdline: string;
      readonly firmware: BuiltInFirmware;
    }
  | {
      readonly kind: 'firmware';
      readonly form: FirmwareForm;
      readonly path: string;
      /** name among `inherited` of a writable image of EFI variables; the form is then `flash` */
      readonly variables?: string | undefined;
    }
  /** the machine loads the state of another one, whose guest no longer reads its boot source */
  | { readonly kind: 'none'; readonly firmware: BuiltInFirmware };

/** RAM of the machine, and address space for more. */
export interface MemoryPlan {
  /** RAM at boot, in `bytes` */
  readonly size: number;
  /** DIMMs that can be added while the machine runs */
  readonly slots: number;
  /** `size` and the guest's address space for virtio-mem, DIMMs and pmem, in `bytes` */
  readonly max: number;
}

/** One `-numa` option; no value is a user's text. */
export type NumaOption =
  | {
      readonly kind: 'node';
      readonly node: number;
      /** vCPU numbers, first and last of each range */
      readonly cpus: readonly (readonly [number, number])[];
      /** id of the object with its RAM; undefined: the node has none */
      readonly memory: string | undefined;
    }
  | { readonly kind: 'distance'; readonly from: number; readonly to: number; readonly distance: number };

/** A whole machine for QEMU: `qemu/process/arguments.ts` renders it at boot. */
export interface MachinePlan {
  readonly machine: { readonly type: string; readonly properties: Properties };
  readonly accelerator: { readonly name: string; readonly properties: Properties };
  readonly cpu: { readonly model: string; readonly properties: Properties };
  readonly smp: Properties;
  readonly memory: MemoryPlan;
  /** empty for a guest without NUMA nodes; the machine's RAM is then one object */
  readonly numa: readonly NumaOption[];
  readonly boot: BootSource;
  /** files with structures of SMBIOS; the VMM chooses their names */
  readonly smbios: readonly string[];
  /** further files of the firmware configuration device: checked names, and files of the VMM or of the user */
  readonly fwCfg: readonly { readonly name: string; readonly file: string }[];
  /** listening socket of the VMM on which QEMU serves a debugger */
  readonly debugger: number | undefined;
  /** transparent huge pages may hold QEMU's memory */
  readonly hugePages: boolean;
  /** file descriptors that QEMU inherits, by their paths in this plan: QEMU may not have the right to open them */
  readonly inherited: ReadonlyMap<string, number>;
  /** QEMU waits for a machine state and does not start the guest */
  readonly incoming: boolean;
  /** descriptor of the VMM for the file with this state, if QEMU inherits it */
  readonly stateFile?: number;
  /** QEMU appends to the output files of another QEMU of the same VM; default: they are truncated */
  readonly continues?: boolean;
  /** every back-end and device, in the order in which they are made */
  readonly steps: readonly Step[];
  /** steps that need QMP: they run before the guest's first instruction */
  readonly lateSteps: readonly Step[];
}
