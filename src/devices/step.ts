/** Properties as QEMU's JSON takes them: a plan's values are data, never text to be parsed again. */
export interface StepProps {
  readonly [name: string]: unknown;
}

/** A back-end object, e.g. `memory-backend-memfd`, `rng-random`, `iothread`. */
export interface ObjectStep {
  readonly kind: 'object';
  readonly props: StepProps & { readonly 'qom-type': string; readonly id: string };
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
}

/**
 * Where the bytes of a character device go.
 *
 * - `null`: nowhere, and nothing is ever read
 * - `channel`: a socket pair, whose other end is ours (a PTY or the terminal is behind it)
 * - `file`: into a file that we have opened, from its end
 */
export type ChardevBackend =
  | { readonly type: 'null' }
  | { readonly type: 'channel' }
  | { readonly type: 'file'; readonly path: string };

/** A character back-end. `-chardev` takes no JSON, so a path is opened by us and passed as a descriptor. */
export interface ChardevStep {
  readonly kind: 'chardev';
  readonly id: string;
  readonly backend: ChardevBackend;
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
export type Step = ObjectStep | BlockdevStep | NetdevStep | ChardevStep | DeviceStep;
