import type { HandoverState } from '../../backends/vsock/thread-messages.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import type { AnyConfig, ConfigOf, Device } from '../../devices/device.ts';
import type { Field, Struct } from '../../schema/field.ts';
import type { ExpectedImage, SavedImage } from './disk/expected-image.ts';

/** What the host gave for one device. It is the run's until it is released. */
export interface Prepared<C = AnyConfig, H = unknown> {
  /** what the device's plan is told; see PlanContext in `devices/device.ts` */
  readonly facts: H;
  /** the configuration with what was found out about it, e.g. the MAC address of a TAP that was made */
  readonly config?: C;
  /** the image that a state which is saved of it depends on */
  readonly image?: SavedImage;
  /** Reads what it has moved since it was prepared, under the names of vm.counters. */
  readonly counters?: () => Readonly<Record<string, number>>;
  /** the streams of a vsock device, of which QEMU knows nothing */
  readonly sockets?: Sockets<H>;
  /** Gives back what was opened or made; called once, when QEMU no longer has the device. */
  readonly release?: () => Promise<void> | void;
}

/** The host's side of a vsock device that outlives QEMU's side of it. */
export interface Sockets<H = unknown> {
  /** What another device must know that gets this one's guest. */
  readonly past: () => Promise<HandoverState>;
  /** QEMU is to make the device anew, for a driver that stays; with `past` for one that had another device. */
  readonly renew: (past: HandoverState | undefined) => Promise<H>;
}

/** What a preparation may look at beside the device's own configuration. */
export interface PrepareContext {
  /** id as clients know it */
  readonly id: string;
  /** the image that it had when the state was saved that it takes over */
  readonly expected: ExpectedImage | undefined;
  /** see `Vm` */
  readonly rawImages: Set<string>;
  /** the VM that the device is for */
  readonly vm: VmConfig;
  /** ports of the host that the network's forwards had in the machine that this one replaces */
  readonly hostPorts?: readonly number[] | undefined;
  /** ends a wait for something of the host: the VM is to be shut down */
  readonly signal: AbortSignal;
}

/**
 * Looks at the host for a device, and opens or makes there what QEMU will need.
 * Rejects with the reason alone, e.g. `/x.raw: no such file or directory`, and leaves nothing behind:
 * who called names the device.
 */
export type Prepare<C, H> = (config: C, context: PrepareContext) => Promise<Prepared<C, H>>;

/** A row of the table in `index.ts`. (A method, so that devices with different configurations fit one table.) */
export interface Preparer {
  /** member of VmConfig */
  readonly member: string;
  prepare(config: AnyConfig, context: PrepareContext): Promise<Prepared>;
}

/** Ties a device to what must be done on the host for it: its plan gets the facts that are found. */
export function prepares<S extends Struct | undefined, F extends Field, H>(
  { member }: Device<S, F, H>,
  prepare: Prepare<ConfigOf<S>, H>,
): Preparer {
  // the table pairs each device with its own configuration: `member` is how it is looked up
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { member, prepare: prepare };
}
