import type { InferOutput } from 'valibot';
import type { Field, Struct, ValueOf } from '../schema/field.ts';
import type { Report, RuleContext } from './common/rules.ts';
import type { Step } from './common/step.ts';

/*
 * A device is a value: its configuration, its names in the API and on the command line, and a pure plan for QEMU. `index.ts`
 * lists all of them. VmConfig, the command line, help, the OpenAPI document, `ch-remote`, manual pages, hot-plug and the rules for
 * snapshots derive from that list (`table.ts`). Actions on the host or on a running QEMU are in `vm/devices/<kind>/`.
 */

/**
 * Input of a plan in addition to the device's configuration. `H` are the host facts that `vm/devices/<kind>/prepare.ts` found or
 * made, e.g. the format of a disk's image.
 */
export interface PlanContext<H = unknown> {
  /** id as clients know it, e.g. `_disk0` */
  readonly id: string;
  /** the id in QEMU's alphabet; different ids stay different */
  readonly qemuId: string;
  /** PCI slot for `addr`; undefined for a device without a slot */
  readonly addr: string | undefined;
  /** the VM has a virtual IOMMU and the device is behind it */
  readonly behindIommu?: boolean;
  readonly facts: H;
}

/** Id of a device whose configuration gives none. */
export type IdRule =
  /** prefix and the VM's counter, which all prefixes share: `_disk0`, `_net1` */
  | { readonly prefix: string }
  /** the id of a device that a VM has at most once */
  | { readonly fixed: string }
  /** undefined: no device of its own in the guest */
  | undefined;

/**
 * Position of a kind of device in lists whose order clients see. Lower numbers come first; kinds without a number come last.
 */
export interface DeviceOrder {
  /** PCI slots; also flags in the help */
  readonly slot?: number;
  /** member of VmConfig: in the OpenAPI document, vm.info and docs/configuration.md */
  readonly config?: number;
  /** flag of the command line: of several wrong flags the first in this order is reported */
  readonly words?: number;
  /** add request among the paths of the OpenAPI document */
  readonly route?: number;
  /** sub-command among those of `ch-remote` that add devices */
  readonly command?: number;
}

/** Request that adds a device of this kind to a VM, and the sub-command of `ch-remote` that sends it. */
export interface HotAdd<
  Route extends string = string,
  Request extends Struct = Struct,
  Unsupported extends string | undefined = string | undefined,
> {
  /** path of the request; `ch-remote` has a sub-command with the same name behind `vm.` */
  readonly route: Route;
  /** schema of the request's body */
  readonly request: Request;
  /** texts of the operation in the OpenAPI document */
  readonly texts: HotAddTexts;
  /** reason of the answer 501, for a device that this VMM does not have; undefined: the request is served */
  readonly unsupported?: Unsupported;
  /** part of the contract's document; other requests are in the view `everything` only */
  readonly inContract?: boolean;
  readonly command: HotAddCommand;
  /** file descriptors that a client may send with the request (SCM_RIGHTS); undefined: none */
  readonly descriptors?: HotAddDescriptors<ValueOf<Request>>;
}

/** File descriptors received with an add request. */
export interface HotAddDescriptors<C = AnyConfig> {
  /** member of the configuration that holds their numbers */
  readonly member: string;
  /** Returns the configuration with the received descriptors, which replace numbers in the body. `fds` is not empty. */
  apply(config: C, fds: readonly number[]): C;
}

/** Texts of an add request in the OpenAPI document. */
export interface HotAddTexts {
  readonly summary: string;
  readonly requestDoc: string;
  /** text of each documented status code */
  readonly answers: Readonly<Record<number, string>>;
}

/** Sub-command of `ch-remote` that adds a device. */
export interface HotAddCommand {
  /** argument in the help, e.g. `<disk_config>` */
  readonly usage: string;
  /** one line of the help */
  readonly summary: string;
  /** noun of the device in messages: `Error parsing <noun> syntax` */
  readonly noun: string;
  /** member for which `ch-remote` chooses a random MAC address if the user gives none, as Cloud Hypervisor's client does */
  readonly randomMac?: string;
}

/** Configuration of a device with struct `S`. */
export type ConfigOf<S> = S extends Struct ? ValueOf<S> : true;

/** Configuration of any device: a checked struct, or `true` for a device that is only switched on. */
export type AnyConfig = ConfigOf<Struct | undefined>;

/** Difference between the answers of a release and the schema, for one struct. */
export interface AnswerDifference {
  /** members that the release always shows, with their values if a request has none */
  readonly always?: Readonly<Record<string, unknown>>;
  /** members that the release does not have: absent from answers if they have these values */
  readonly never?: Readonly<Record<string, unknown>>;
}

/** Differences between answers about a device and the schema. */
export interface Answered {
  /** value in current releases if the configuration has none */
  readonly absent?: unknown;
  /** difference of current releases in the members of an item */
  readonly item?: AnswerDifference;
  /** the same in structs within an item, by member */
  readonly nested?: Readonly<Record<string, AnswerDifference>>;
  /** value that answers of the contract's release leave out */
  readonly notInContract?: unknown;
}

/** One kind of device with all its traits. */
export interface Device<
  S extends Struct | undefined = Struct | undefined,
  F extends Field = Field,
  H = unknown,
  M extends string = string,
  A extends HotAdd | undefined = HotAdd | undefined,
> {
  /** member of VmConfig, e.g. `disks` */
  readonly member: M;
  /** other names of the member that clients send */
  readonly aliases?: readonly string[];
  /** the member's field: optional or not, its default, whether it is refused (`later`) */
  readonly field: F;
  /** schema of an item; `undefined` if the member is a switch */
  readonly struct: S;
  /** the member is a list */
  readonly many: boolean;
  readonly order?: DeviceOrder;

  /** flag of the command line without its dashes; `undefined`: none */
  readonly flag: string | undefined;
  /** value of the flag if the command line does not have it, as help and manual show it */
  readonly flagFallback?: string;

  readonly ids: IdRule;
  /** is on the PCI bus; `order.slot` is the order of the slots */
  readonly takesSlot: boolean;
  /** QEMU makes it at boot before all other devices, whatever its slot */
  readonly madeFirst?: true;
  /**
   * Place in vm.info's device tree: `carried` (the default): a virtio device below its PCI function; `function`: a PCI function
   * of its own; `none`: no node.
   */
  readonly treeNode?: 'carried' | 'function' | 'none';
  /** relation to the virtual IOMMU; undefined: never behind it */
  readonly behindIommu?: {
    /** `iommu: true` puts it behind; on the command line that adds the virtual IOMMU */
    readonly onRequest?: true;
    /** on a PCI segment of `platform.iommu_segments` it must be behind */
    readonly bySegment?: true;
  };
  /** hardware of the host: the VMM never writes its registers */
  readonly isHostHardware?: true;

  /** can be removed from a running VM */
  readonly removable: boolean;
  /** request that adds one; undefined: devices of this kind can be added before boot only */
  readonly hotAdd?: A;

  /** answers of vm.info that differ from the schema, by release */
  readonly answered?: Answered;

  /**
   * Members that may be edited in a snapshot's config.json: they concern the host only, or a later boot. `zones[].file`
   * names a member of each item of a nested list; `all` stands for the whole configuration of the device.
   */
  readonly editable?: readonly string[] | 'all';

  /**
   * Returns devices that derive from a member which is no device of its own, e.g. from memory zones. They have no id and no
   * place in the configuration.
   */
  derive?(member: InferOutput<F['schema']>): readonly ConfigOf<S>[];
  /** Reports the rules that an item breaks, as far as its own configuration and the context decide (`rules.ts`). */
  check?(config: ConfigOf<S>, context: RuleContext): void;
  /** Reports the rules that the items of a list break together, e.g. that no two have one path. */
  checkList?(configs: readonly ConfigOf<S>[], report: Report): void;
  /** Returns true if the guest has the device; without this function it has every configured device. */
  present?(config: ConfigOf<S>): boolean;
  /** Returns the reason why the device's state cannot be in a snapshot or a migration; undefined, or no function: it can. */
  unsaved?(config: ConfigOf<S>): string | undefined;
  /** Returns the reason why the device cannot migrate although a snapshot can hold it; undefined, or no function: it can. */
  unmovable?(config: ConfigOf<S>): string | undefined;
  /** Returns true if QEMU's block layer serves the device: it locks the image and counts requests; without this function: no. */
  usesBlockLayer?(config: ConfigOf<S>): boolean;
  /** Returns the names of QEMU memory that other programs share: a snapshot does not hold it. */
  foreignMemory?(qemuId: string): readonly string[];
  /** Returns the space for memory devices that the device takes, in `bytes`; without this function: none. */
  memorySize?(facts: H): number;
  /**
   * Returns the steps by which QEMU makes the device: pure, in order.
   * (Methods, so that devices with different configurations fit one table.)
   */
  plan?(config: ConfigOf<S>, at: PlanContext<H>): readonly Step[];
}

/** Declares a device; exists to infer the types of its configuration, field, host facts, member and add request. */
export function defineDevice<
  S extends Struct | undefined,
  F extends Field,
  H = undefined,
  const M extends string = string,
  A extends HotAdd | undefined = undefined,
>(device: Device<S, F, H, M, A>): Device<S, F, H, M, A> {
  return device;
}

/** Declares an add request; exists to infer its route and schema. */
export function hotAdd<
  const Route extends string,
  Request extends Struct,
  Unsupported extends string | undefined = undefined,
>(request: HotAdd<Route, Request, Unsupported>): HotAdd<Route, Request, Unsupported> {
  return request;
}

/** Returns the texts of an add request in the words of the contract's document. */
export function hotAddTexts(what: string, kind: string, detail = what): HotAddTexts {
  return {
    summary: `Add a new ${what} to the VM`,
    requestDoc: `The details of the new ${detail}`,
    answers: {
      200: `The new ${kind} was successfully added to the VM instance.`,
      500: `The new ${kind} could not be added to the VM instance.`,
    },
  };
}
