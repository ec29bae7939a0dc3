import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import type { VmConfigInput } from '../../config/vm-config.ts';
import type { ConnectGuest, Guest, RenderCommand } from '../../guest/guest.ts';
import type { KeyExchangeSeed } from '../../guest/ssh2-crypto.ts';
import type { ImageProgress } from '../../images/image.ts';
import type { CallOptions } from '../../sdk/client.ts';
import type { NotifyMessage } from '../../sdk/notify/message.ts';
import { startVmm, type VmmProcess } from '../../sdk/vmm-process.ts';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import type { VmPaths } from '../vm-directory/paths.ts';

/*
 * Start of a VM with guest tools: the VMM, the VM, and the connection to the SSH server of the tools on a virtio-serial port. `startCold`
 * boots; warm/ has the other way, which restores a snapshot.
 */

/** A VM to start. */
export interface GuestPlan {
  readonly config: VmConfigInput;
  readonly paths: VmPaths;
  /** Renders commands for the SSH server of the tools */
  readonly render: RenderCommand;
  /** Writes the initramfs of the configuration, which a boot needs */
  readonly writeInitramfs: () => Promise<void>;
  /** Identity of the content of the initramfs; without one a snapshot of the booted VM is neither used nor made */
  readonly initramfsId?: string;
  /** Text of a command for the shell of the tools that mounts the volumes, once, when commands can run */
  readonly mountVolumes?: string;
  /** Snapshot of a running VM, which is restored instead of a boot */
  readonly clone?: {
    readonly snapshot: string;
    /** Returns the text of a command for the shell of the tools: it sets the clock, the random numbers and the names of the guest */
    readonly refresh: () => string;
  };
}

/** A VMM with a VM that runs, and a connection to the guest. Disposal ends the VMM. */
export interface StartedGuest {
  readonly vmm: VmmProcess;
  readonly guest: Guest;
  /** restored from a warm snapshot */
  readonly isWarm: boolean;
  /** Reboots of the guest; undefined where a reset ends the VM */
  readonly reboots?: GuestReboots;
}

/** Reboots of a guest, which its VM outlives. */
export interface GuestReboots {
  /** Returns the latest connection to the guest; it is closed while the guest boots. */
  readonly guest: () => Guest;
  /** Settles at the next reset of the guest. */
  readonly nextReset: () => Promise<void>;
  /** Settles with a connection when the guest has booted; at once where it has. */
  readonly ready: () => Promise<Guest>;
  /** The guest has reported that it shuts down */
  readonly isShuttingDown: () => boolean;
}

/** Options of a start. */
export interface StartOptions {
  readonly connect: ConnectGuest;
  /** Aborts the start; the VMM is then ended */
  readonly signal: AbortSignal;
  /** Called when the VMM runs: its end is watched from then on */
  readonly onVmm: (vmm: VmmProcess) => void;
  /** Called with the events of a VMM whose start may fail without consequences, before `onVmm` */
  readonly onEvents: (events: Readable) => void;
  /** Called where the guest fails, and its VMM still runs: a reset loop */
  readonly onFailed: (error: RunError) => void;
  /** Called with each report of the guest's service manager */
  readonly onReport: (message: NotifyMessage) => void;
}

/** Options of `startRun`. */
export interface StartRunOptions {
  /** Aborts the start; nothing is left then */
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: ImageProgress) => void;
  /** The VM waits for a run (pool/) */
  readonly isStandBy?: boolean;
}

/** User of the SSH server of the tools for the owner process: its shell is that of the tools. */
const TOOLS_USER = 'nephos';

/** SFTP server of the tools, in the image's tree. */
const SFTP_SERVER = 'exec /bin/enter tool /lib/sftp-server';

/** Time limit of a boot until commands can run, in milliseconds: an emulated guest on a busy host takes tens of seconds. */
const BOOT_MS = 180_000;

/** Arguments of the VMM of a guest with tools: a reset ends the VM. */
const ENDS_AT_RESET = ['--on-reboot', 'exit'];

/** Starts a VMM for a VM directory. `policies` are arguments for the guest's resets and panics. */
export function startVmmIn(
  paths: VmPaths,
  signal: AbortSignal,
  args: readonly string[] = [],
  policies: readonly string[] = ENDS_AT_RESET,
): Promise<VmmProcess> {
  return startVmm({
    socketPath: paths.api,
    args: ['--log-file', paths.log, ...policies, ...args],
    startTimeoutMs: BOOT_MS,
    signal,
  });
}

/** Takes part in the connection to the SSH server of a booted VM. */
export interface ServerWatch {
  /** Called before the connection begins: the first bytes of the server are in the stream. Returns the numbers of its key exchange */
  readonly onServer: (stream: Socket) => KeyExchangeSeed;
  /** Called when commands can run, and none has run. */
  readonly onConnected: (vmm: VmmProcess) => Promise<void>;
}

/** Boots a VM. Rejects after the VMM has ended. @throws LaunchError, RequestError, GuestError, RunError */
export async function startCold(
  plan: GuestPlan,
  options: StartOptions,
  watch?: ServerWatch,
): Promise<StartedGuest> {
  const { paths, config } = plan;
  const [vmm] = await Promise.all([startVmmIn(paths, options.signal), plan.writeInitramfs()]);
  options.onVmm(vmm);
  try {
    const call: CallOptions = { signal: options.signal };
    await vmm.client.call('vm.create', config, call);
    await vmm.client.call('vm.boot', undefined, call);
    const stream = await openServerStream(paths.console, options.signal);
    const seed = watch?.onServer(stream);
    const guest = await connectServer(plan, options, { stream, timeoutMs: BOOT_MS, seed });
    await watch?.onConnected(vmm);
    await mountVolumes(guest, plan);
    return { vmm, guest, isWarm: false };
  } catch (error) {
    await vmm[Symbol.asyncDispose]();
    throw error;
  }
}

/** User whose command is text for the shell of the tools, outside the image. No guest has it. */
export const TOOLS_ROOT = '/tools';

/** Mounts the volumes of a guest that has run no command: a snapshot has none of them. @throws RunError with the reason of the guest */
export async function mountVolumes(guest: Guest, { mountVolumes: command }: GuestPlan): Promise<void> {
  if (command === undefined) return;
  const { exitCode, stderr } = await guest.exec(command, { user: TOOLS_ROOT });
  if (exitCode !== 0) throw new RunError('start', `a volume cannot be mounted: ${stderr.trim()}`);
}

/** A stream that begins with the banner of the SSH server of the tools. */
export interface ServerStream {
  readonly stream: Duplex;
  readonly timeoutMs: number;
  readonly seed?: KeyExchangeSeed | undefined;
}

/** Connects to the SSH server of the tools. @throws GuestError */
export function connectServer(
  { render }: GuestPlan,
  { connect: connectGuest, signal }: StartOptions,
  { stream, timeoutMs, seed }: ServerStream,
): Promise<Guest> {
  return connectGuest({
    stream,
    user: TOOLS_USER,
    render,
    sftpCommand: SFTP_SERVER,
    signal,
    timeoutMs,
    ...(seed !== undefined && { seed }),
  });
}

const BANNER = Buffer.from('SSH-2.0-');

/** Most bytes before the banner. */
const NOISE_BYTES_MAX = 2 ** 20;

/**
 * Connects to the console of a VM and waits for the banner of the SSH server (RFC 4253, 4.2). Earlier input would be discarded at the
 * start of the server.
 */
export async function openServerStream(path: string, signal: AbortSignal): Promise<Socket> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(BOOT_MS)]);
  const socket = connect({ path });
  try {
    await once(socket, 'connect', { signal: limit });
    await skipToBanner(socket, limit);
    return socket;
  } catch (error) {
    socket.on('error', () => undefined).destroy();
    signal.throwIfAborted();
    const reason = limit.aborted ? `it does not answer within ${BOOT_MS / 1000} s` : reasonOf(error);
    throw new RunError('start', `the SSH server of the guest: ${reason}`, { cause: error });
  }
}

/** Discards bytes before the banner of an SSH server. Rejects where the stream ends or has other output. */
export async function skipToBanner(socket: Socket, signal: AbortSignal): Promise<void> {
  let bytes = Buffer.alloc(0);
  for (;;) {
    const part: unknown = socket.read();
    if (part instanceof Buffer) bytes = Buffer.concat([bytes, part]);
    const at = bytes.indexOf(BANNER);
    if (at >= 0) return socket.unshift(bytes.subarray(at));
    if (bytes.length > NOISE_BYTES_MAX) throw new Error('the console has other output');
    if (socket.readableEnded || socket.destroyed) throw new Error('the VMM closed the console');
    if (part === null) await once(socket, 'readable', { signal });
  }
}
