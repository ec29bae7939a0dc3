import type { Step } from './step.ts';

/** Properties of a part of the machine; names and values are ours, never a user's text. */
export type Properties = Readonly<Record<string, string | number | boolean>>;

/** What the machine starts from. Paths and the command line are passed as arguments of their own, never joined. */
export type BootSource =
  | {
      readonly kind: 'kernel';
      /** an ELF with a PVH note, or a bzImage */
      readonly path: string;
      readonly initramfs: string | undefined;
      readonly cmdline: string;
    }
  | { readonly kind: 'firmware'; readonly path: string };

/** A whole machine as QEMU gets it: `qemu/arguments.ts` renders it at boot. */
export interface MachinePlan {
  readonly machine: { readonly type: string; readonly properties: Properties };
  readonly accelerator: { readonly name: string; readonly properties: Properties };
  readonly cpu: { readonly model: string; readonly properties: Properties };
  readonly smp: Properties;
  /** size of the RAM in `bytes` */
  readonly memory: number;
  readonly boot: BootSource;
  /** every back-end and device, in the order in which they are made */
  readonly steps: readonly Step[];
  /** those that only QMP can make: done before the guest's first instruction */
  readonly lateSteps: readonly Step[];
}
