import type { Readable, Writable } from 'node:stream';
import type {
  ExecOptions,
  ExecResult,
  GuestCommand,
  GuestProcess,
  SpawnOptions,
  TransferOptions,
} from '../guest/guest.ts';
import type { ImageProgress } from '../images/image.ts';
import type { Client } from '../sdk/client.ts';
import { startForward, type Forward, type ForwardOptions } from '../sdk/forward.ts';
import { cloneRun } from './clone-vm.ts';
import { RunError } from './errors.ts';
import { createOptionRequest, type RunOptions } from './image-vm-options.ts';
import { defaultParts } from './owner/parts.ts';
import { startRun, type RunningVm } from './owner/run-vm.ts';
import type { PublishedPort } from './run-request.ts';

/** Options of {@link run} beside those of the VM. */
export interface StartImageOptions extends RunOptions {
  /** Aborts the start; nothing is left then */
  readonly signal?: AbortSignal;
  /** Progress of a pull */
  readonly onProgress?: (progress: ImageProgress) => void;
}

/** Options of {@link ImageVm.fork}. */
export interface ForkImageOptions {
  /** Returns the name of a clone, by its number from 0 on; a random one by default */
  readonly name?: (index: number) => string;
  /** Aborts the starts; no clone is left then */
  readonly signal?: AbortSignal;
}

/**
 * A VM of an image, owned by this process: it ends with this process, or when this object is disposed of. Commands run in the image's
 * tree, with the variables, the directory and the user of the image by default.
 */
export class ImageVm implements AsyncDisposable {
  readonly #running: RunningVm;
  readonly #forwards = new Set<Forward>();

  /** @internal */
  constructor(running: RunningVm) {
    this.#running = running;
  }

  /** Name of the VM, for `nephos exec` and others */
  get name(): string {
    return this.#running.vm.record.name;
  }

  /** Published ports, with the numbers that the host chose */
  get ports(): readonly PublishedPort[] {
    return this.#running.vm.record.ports;
  }

  /** Client of its VMM, for all endpoints of the API */
  get client(): Client {
    return this.#running.vmm.client;
  }

  /** Process id of the VMM */
  get pid(): number {
    return this.#running.vmm.pid;
  }

  /** Settles with the reason when the VM has ended by itself: a power-off, a panic, a crash. Never rejects. */
  get ended(): Promise<RunError> {
    return this.#running.failed;
  }

  /**
   * Runs a command until it exits; a text is run by `sh -c`. Any exit code is a result.
   * @throws {GuestError} on timeout, abort, a lost connection, or more output than the limit. The command is then dead in the guest
   */
  exec(argv: GuestCommand['argv'], options: ExecOptions = {}): Promise<ExecResult> {
    return this.#running.guest.exec(argv, { ...options, ...this.#placeOf(options) });
  }

  /** Starts a command with streams. @throws {GuestError} */
  spawn(argv: GuestCommand['argv'], options: SpawnOptions = {}): Promise<GuestProcess> {
    return this.#running.guest.spawn(argv, { ...options, ...this.#placeOf(options) });
  }

  /** Starts a shell in a terminal of 80 columns and 24 rows by default. @throws {GuestError} */
  shell(options: SpawnOptions = {}): Promise<GuestProcess> {
    const pty = { columns: 80, rows: 24 };
    return this.spawn('exec "${SHELL:-/bin/sh}" -i', { pty, ...options });
  }

  /** Copies a file, a directory or a stream to a path in the guest, by SFTP. @throws {GuestError} */
  upload(from: string | Readable, to: string, options?: TransferOptions): Promise<void> {
    return this.#running.guest.upload(from, to, options);
  }

  /** Copies a file or a directory of the guest to a path, or a file to a stream, by SFTP. @throws {GuestError} */
  download(from: string, to: string | Writable, options?: TransferOptions): Promise<void> {
    return this.#running.guest.download(from, to, options);
  }

  /**
   * Listens on a port of this host (0: a free one) and connects its clients to a TCP port of the guest's loopback. It works without a network
   * of the guest.
   * @throws the system's error if it cannot listen
   */
  async forward(hostPort: number, guestPort: number, options: ForwardOptions = {}): Promise<Forward> {
    const { guest } = this.#running;
    const forward = await startForward(() => guest.connectTcp(guestPort), hostPort, options);
    this.#forwards.add(forward);
    return forward;
  }

  /**
   * Makes clones of the running VM, which continue from this moment with its processes and files; the VM is paused for a snapshot. Each clone
   * is a VM as that of {@link run}, with free ports of the host. Its guest has a clock, random numbers, a host name (the clone's name), a
   * machine-id and SSH host keys of its own before the promise settles. Connections of the guest to other machines are lost.
   * @throws {RunError} for a disk image with a kernel of its own, a taken name, or a guest that cannot get an identity. After any failure
   * there is no clone
   */
  async fork(count: number, options: ForkImageOptions = {}): Promise<ImageVm[]> {
    const { name, signal = new AbortController().signal } = options;
    const clones = await cloneRun(this.#running, defaultParts(), { count, name, signal });
    return clones.map((clone) => new ImageVm(clone));
  }

  /** Ends the VM. Leaves no process, socket or directory; with `keep` the directory stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const forward of this.#forwards) await forward[Symbol.asyncDispose]();
    await this.#running.finish({ code: 0 });
  }

  /** Place of a command: that of the image unless the options have another one. */
  #placeOf({ env, cwd, user }: Pick<SpawnOptions, 'env' | 'cwd' | 'user'>): Omit<GuestCommand, 'argv'> {
    const main = this.#running.process;
    const [directory, name] = [cwd ?? main.cwd, user ?? main.user];
    return {
      env: { ...main.env, ...env },
      ...(directory !== '' && { cwd: directory }),
      ...(name !== '' && { user: name }),
    };
  }
}

/**
 * Starts a fresh VM with an image, without a command: a reference (`alpine:3.20`), `oci:DIR`, `docker-archive:FILE`, a disk image or a
 * directory, as `nephos run` takes them. Without an image `options.kernel` runs alone. A start that fails leaves nothing.
 *
 * ```ts
 * await using vm = await run('alpine:3.20', { memory: 2 ** 29 });
 * const { exitCode, stdout } = await vm.exec(['uname', '-a']);
 * ```
 * @throws {RunError} for options that cannot be used, a taken name, or a guest that crashes while it boots
 * @throws {ImageError} for an image that cannot be used
 * @throws {GuestError} if the guest cannot be reached; {@link LaunchError}, {@link RequestError} if the VMM does not start it
 */
export async function run(image: string | undefined, options: StartImageOptions = {}): Promise<ImageVm> {
  const { signal = new AbortController().signal, onProgress, ...wanted } = options;
  const request = createOptionRequest(image, wanted);
  const start = { signal, ...(onProgress !== undefined && { onProgress }) };
  return new ImageVm(await startRun(request, defaultParts(), start));
}
