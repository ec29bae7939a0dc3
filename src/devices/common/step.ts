/** Properties in QEMU's JSON: the values of a plan are data, never text that is parsed again. */
export interface StepProps {
  readonly [name: string]: unknown;
}

/** A back-end object, e.g. `memory-backend-memfd`, `rng-random`, `iothread`. */
export interface ObjectStep {
  readonly kind: 'object';
  readonly props: StepProps & { readonly 'qom-type': string; readonly id: string };
  /** one-time burst of a throttle group */
  readonly burst?: OneTimeBurst;
}

/** Extra tokens of a limit at the start: until they are used up, QEMU has other limits than afterwards. */
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
  /** file descriptors of the VMM that QEMU receives as the property `fds`, e.g. the queues of a TAP */
  readonly fds?: readonly number[];
}

/**
 * Destination of the bytes of a character device.
 *
 * - `null`: no destination, and nothing is read
 * - `ringbuf`: QEMU keeps the newest {@link RING_BYTES} in memory; nothing is read
 * - `channel`: a socket pair, whose other end the VMM holds;
 *   with `waits` the whole QEMU blocks while the socket is full, for devices that would drop output;
 *   with `file`, which needs `waits`, the output is also appended to a file that the VMM has opened
 * - `file`: a file that the VMM has opened; QEMU appends to it
 * - `descriptor`: a connected or listening socket of the VMM, which QEMU receives a copy of
 * - `socket`: a UNIX socket that QEMU listens on; the next step waits until the VMM has connected.
 */
export type ChardevBackend =
  | { readonly type: 'null' }
  | RingBackend
  | ChannelBackend
  | FileBackend
  | { readonly type: 'descriptor'; readonly fd: number; readonly server: boolean }
  | { readonly type: 'socket'; readonly path: string };

/** A ring in QEMU's memory; see {@link ChardevBackend}. */
export interface RingBackend {
  readonly type: 'ringbuf';
}

/** A socket pair; see {@link ChardevBackend}. */
export interface ChannelBackend {
  readonly type: 'channel';
  readonly waits: boolean;
  readonly file?: string;
}

/** A file; see {@link ChardevBackend}. */
export interface FileBackend {
  readonly type: 'file';
  readonly path: string;
}

/** Size of a ring, in bytes; QEMU requires a power of two. */
export const RING_BYTES = 2 ** 20;

/** Back-ends that QEMU can replace by a channel while the machine runs. */
export type OwnBackend = RingBackend | FileBackend;

/** Returns whether QEMU can replace a back-end by a channel. */
export function isOwnBackend(backend: ChardevBackend): backend is OwnBackend {
  return backend.type === 'ringbuf' || backend.type === 'file';
}

/** Returns the channel that takes the place of QEMU's own back-end once a console has a viewer. */
export function channelInsteadOf(backend: OwnBackend): ChannelBackend {
  if (backend.type === 'ringbuf') return { type: 'channel', waits: false };
  // where a write to the channel would fail, QEMU writes its bytes to the file, and again when it repeats the write
  return { type: 'channel', waits: true, file: backend.path };
}

/** A character back-end. `-chardev` takes no JSON, so the VMM opens the path and passes a file descriptor. */
export interface ChardevStep {
  readonly kind: 'chardev';
  readonly id: string;
  readonly backend: ChardevBackend;
}

/** The emulator of a TPM: a program with a connection of its own. QEMU can only make it at boot. */
export interface TpmdevStep {
  readonly kind: 'tpmdev';
  readonly id: string;
  /** id of the chardev with the connection */
  readonly chardev: string;
}

/** A device on a bus. */
export interface DeviceStep {
  readonly kind: 'device';
  readonly props: StepProps & { readonly driver: string; readonly id?: string };
}

/**
 * One object that QEMU makes. A list of steps is rendered as arguments at boot and as QMP commands while the machine runs. A
 * removal follows the list in reverse order.
 */
export type Step = ObjectStep | BlockdevStep | NetdevStep | ChardevStep | TpmdevStep | DeviceStep;

/** Returns whether steps need QMP also at boot: they then follow the start of QEMU, before the guest's first instruction. */
export function needsQmp(steps: readonly Step[]): boolean {
  return steps.some((step) => step.kind === 'chardev' && step.backend.type === 'socket');
}

/**
 * Returns whether another process or thread serves a device of these steps: it must be able to map the guest's memory. A thread of the
 * VMM can do without, see {@link needsMapping}.
 */
export function needsSharedMemory(steps: readonly Step[]): boolean {
  return steps.some(isServed);
}

/**
 * Returns whether another process serves a device of these steps, which maps the guest's memory. A thread of the VMM can also access the
 * memory of QEMU's process.
 */
export function needsMapping(steps: readonly Step[]): boolean {
  const threads = new Set(
    steps.flatMap((step) => (step.kind === 'chardev' && step.backend.type === 'descriptor' ? [step.id] : [])),
  );
  const isThread = (chardev: unknown): boolean => typeof chardev === 'string' && threads.has(chardev);
  return steps.some((step) => isServed(step) && !isThread(step.props['chardev']));
}

function isServed(step: Step): step is DeviceStep | NetdevStep {
  return (
    (step.kind === 'device' && step.props.driver.startsWith('vhost-user-')) ||
    (step.kind === 'netdev' && step.props.type === 'vhost-user')
  );
}
