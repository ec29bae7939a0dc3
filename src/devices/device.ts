import type { InferOutput } from 'valibot';
import type { Field, Struct, ValueOf } from '../schema/field.ts';
import type { Step } from './common/step.ts';

/**
 * What a plan may know beside the device's own configuration. `H` is what the host found or made for the device
 * before it is planned (`vm/prepare/`), e.g. what a disk's image is.
 */
export interface PlanContext<H = unknown> {
  /** id as clients know it, e.g. `_disk0` */
  readonly id: string;
  /** the id in QEMU's alphabet, unique as the other is */
  readonly qemuId: string;
  /** PCI slot for `addr`, where the device takes one */
  readonly addr: string | undefined;
  /** the VM has a virtual IOMMU and the device is to be behind it */
  readonly behindIommu?: boolean;
  readonly facts: H;
}

/** How a device is called when its configuration does not say. */
export type IdRule =
  /** prefix and the VM's counter, shared by all prefixes: `_disk0`, `_net1` */
  | { readonly prefix: string }
  /** there is one at most, always called so */
  | { readonly fixed: string }
  /** no device of its own in the guest */
  | undefined;

/** The configuration of a device with struct `S`. */
export type ConfigOf<S> = S extends Struct ? ValueOf<S> : true;

/** The configuration of any device: a checked struct, or `true` where it is only switched on. */
export type AnyConfig = ConfigOf<Struct | undefined>;

/** One kind of device: everything that is known about it, in one value. */
export interface Device<
  S extends Struct | undefined = Struct | undefined,
  F extends Field = Field,
  H = unknown,
> {
  /** member of VmConfig, e.g. `disks` */
  readonly member: string;
  /** that member's field: optional or not, its default, whether it is there yet (`later`) */
  readonly field: F;
  /** what an item is made of; `undefined` where the member is only switched on or off */
  readonly struct: S;
  /** the member is a list */
  readonly many: boolean;
  /** flag of the command line without its dashes; `undefined`: none */
  readonly flag: string | undefined;
  readonly ids: IdRule;
  /** is put on the PCI bus; the order of the slots is the order of the table */
  readonly takesSlot: boolean;
  /** can be removed from a running VM */
  readonly removable: boolean;
  /**
   * Members that may be edited in a snapshot's config.json: they concern the host only, or a later boot. `zones[].file`
   * names a member of each item of a nested list; `all` stands for the whole configuration of the device.
   */
  readonly editable?: readonly string[] | 'all';
  /**
   * Devices that follow from a member which is no device of its own, e.g. from the RAM's zones. They have no id and no
   * place in the configuration.
   */
  derive?(member: InferOutput<F['schema']>): readonly ConfigOf<S>[];
  /** the guest sees it; without this function it always does where it is configured */
  present?(config: ConfigOf<S>): boolean;
  /** Why the device's state cannot be saved and given to another machine; undefined, or no function: it can. */
  unsaved?(config: ConfigOf<S>): string | undefined;
  /**
   * What QEMU makes for the device: pure, in the order in which it is made.
   * (Methods, so that devices with different configurations fit one table.)
   */
  plan?(config: ConfigOf<S>, at: PlanContext<H>): readonly Step[];
}

/** Declares a device; exists to infer the types of its configuration, its field and what the host knows of it. */
export function defineDevice<S extends Struct | undefined, F extends Field, H = undefined>(
  device: Device<S, F, H>,
): Device<S, F, H> {
  return device;
}
