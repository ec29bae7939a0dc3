/** Properties as QEMU's JSON takes them: a plan's values are data, never text to be parsed again. */
export interface StepProps {
  readonly [name: string]: unknown;
}

/** A back-end object, e.g. `memory-backend-memfd`, `rng-random`, `iothread`. */
export interface ObjectStep {
  readonly kind: 'object';
  readonly props: StepProps & { readonly 'qom-type': string; readonly id: string };
  /** of a throttle group */
  readonly burst?: OneTimeBurst;
}

/** Extra tokens of a limit at the start: while they last, the engine has other limits than after. */
export interface OneTimeBurst {
  readonly counts: 'bytes' | 'ops';
  readonly tokens: number;
  /** QEMU's limits once the tokens are used up; setting them starts with a full bucket */
  readonly lasting: StepProps;
}

/** A node of the block layer. */
export interface BlockdevStep {
  readonly kind: 'blockdev';
  readonly props: StepProps & { readonly driver: string; readonly 'node-name': string };
}

/** A network back-end. */
export interface NetdevStep {
  readonly kind: 'netdev';
  readonly props: StepProps & { readonly type: string; readonly id: string };
  /** descriptors of ours that QEMU gets as the property `fds`, e.g. the queues of a TAP */
  readonly fds?: readonly number[];
}

/**
 * Where the bytes of a character device go.
 *
 * - `null`: nowhere, and nothing is ever read
 * - `channel`: a socket pair, whose other end is the VMM's (a PTY or the terminal is behind it);
 *   with `waits` QEMU as a whole waits while the socket is full, for devices that would drop output
 * - `file`: into a file that we have opened, from its end
 * - `descriptor`: a connected or listening socket of ours, which QEMU gets a copy of
 * - `socket`: a UNIX socket that QEMU listens on; the next step waits for the VMM, which connects.
 */
export type ChardevBackend =
  | { readonly type: 'null' }
  | { readonly type: 'channel'; readonly waits: boolean }
  | { readonly type: 'file'; readonly path: string }
  | { readonly type: 'descriptor'; readonly fd: number; readonly server: boolean }
  | { readonly type: 'socket'; readonly path: string };

/** A character back-end. `-chardev` takes no JSON, so a path is opened by us and passed as a descriptor. */
export interface ChardevStep {
  readonly kind: 'chardev';
  readonly id: string;
  readonly backend: ChardevBackend;
}

/** What emulates a TPM: a program behind a connection of its own. QEMU only makes it at boot. */
export interface TpmdevStep {
  readonly kind: 'tpmdev';
  readonly id: string;
  /** the connection */
  readonly chardev: string;
}

/** A device on a bus. */
export interface DeviceStep {
  readonly kind: 'device';
  readonly props: StepProps & { readonly driver: string; readonly id?: string };
}

/**
 * One thing that QEMU makes. A list of steps is rendered as arguments at boot and as QMP commands when the
 * machine runs; in reverse order it is how the thing is taken away again.
 */
export type Step = ObjectStep | BlockdevStep | NetdevStep | ChardevStep | TpmdevStep | DeviceStep;

/** Whether steps can only be made over QMP: they are then made before the guest's first instruction, not as arguments. */
export function needsQmp(steps: readonly Step[]): boolean {
  return steps.some((step) => step.kind === 'chardev' && step.backend.type === 'socket');
}

/** Whether a device of these is made by another process or thread, which must be able to map the guest's memory. */
export function needsSharedMemory(steps: readonly Step[]): boolean {
  return steps.some(
    (step) =>
      (step.kind === 'device' && step.props.driver.startsWith('vhost-user-')) ||
      (step.kind === 'netdev' && step.props.type === 'vhost-user'),
  );
}
