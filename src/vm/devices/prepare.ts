import type { HandoverState } from '../../backends/vsock/thread-messages.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import type { AnyConfig, ConfigOf, Device } from '../../devices/device.ts';
import type { Field, Struct } from '../../schema/field.ts';
import type { ExpectedImage, SavedImage } from './disk/expected-image.ts';

/** Host resources of one device. They belong to the machine until they are released. */
export interface Prepared<C = AnyConfig, H = unknown> {
  /** input of the device's plan; see PlanContext in `devices/device.ts` */
  readonly facts: H;
  /** the configuration completed with host facts, e.g. the MAC address of a new TAP */
  readonly config?: C;
  /** image that the device's state in a snapshot or migration depends on */
  readonly image?: SavedImage;
  /** Reads the numbers of bytes and packets since the preparation, under the names of vm.counters. */
  readonly counters?: () => Readonly<Record<string, number>>;
  /** streams of a vsock device, which QEMU does not see */
  readonly vsock?: VsockHost<H>;
  /**
   * Starts the device's back-end, and settles when it runs; by default it runs already. Rejects with the reason alone, before the
   * back-end's connection is closed; the device must be released then, too.
   */
  readonly start?: () => Promise<void>;
  /** Releases the host resources; called once, when QEMU no longer has the device. */
  readonly release?: () => Promise<void> | void;
}

/** Streams of a vsock device on the host, which continue when QEMU's device is replaced. */
export interface VsockHost<H = unknown> {
  /** Returns the state that the device of another machine needs to continue for this guest. */
  readonly handoverState: () => Promise<HandoverState>;
  /** Returns the facts with which QEMU makes the device again, while the driver stays loaded. `previous`: state of the driver's former device. */
  readonly reconnect: (previous: HandoverState | undefined) => Promise<H>;
}

/** Input of a preparation in addition to the device's configuration. */
export interface PrepareContext {
  /** id as clients know it */
  readonly id: string;
  /** image of the device in the snapshot or migration that the machine continues from */
  readonly expected: ExpectedImage | undefined;
  /** see `Vm` */
  readonly rawImages: Set<string>;
  /** the VM that the device is for */
  readonly vm: VmConfig;
  /** host ports of the network's forwards in the machine that this one replaces */
  readonly hostPorts?: readonly number[] | undefined;
  /** aborted when the VM is to be shut down: ends a wait for a host resource */
  readonly signal: AbortSignal;
}

/**
 * Finds, opens or makes the host resources of a device. Rejects with the reason alone, e.g. `/x.raw: no such file or directory`,
 * and leaves nothing behind: the caller adds the device's name.
 */
export type Prepare<C, H> = (config: C, context: PrepareContext) => Promise<Prepared<C, H>>;

/** A row of the table in `index.ts`. (A method, so that devices with different configurations fit one table.) */
export interface Preparer {
  /** member of VmConfig */
  readonly member: string;
  prepare(config: AnyConfig, context: PrepareContext): Promise<Prepared>;
}

/** Returns the row of a device and its preparation, whose facts are the input of its plan. */
export function prepares<S extends Struct | undefined, F extends Field, H>(
  { member }: Device<S, F, H>,
  prepare: Prepare<ConfigOf<S>, H>,
): Preparer {
  // callers find the row by `member`, so each preparation gets the configuration of its own device
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { member, prepare: prepare };
}
