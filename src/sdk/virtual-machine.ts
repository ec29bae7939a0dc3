import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { VmConfigInput } from '../config/vm-config.ts';
import type {
  ExecOptions,
  ExecResult,
  Guest,
  GuestCommand,
  GuestProcess,
  SpawnOptions,
  TransferOptions,
} from '../guest/guest.ts';
import type { CallOptions, Client, DescriptorOptions, ReplyBody, RequestBody } from './client.ts';
import type { Console } from './console.ts';
import { attachVmm, watchEnd } from './attach.ts';
import type { Forward, ForwardOptions } from './forward.ts';
import { createGuestLink, prepareGuestLink, type GuestLink, type GuestOptions } from './guest-link.ts';
import { createVmConsoles, type VmConsoles } from './vm-consoles.ts';
import { LaunchError } from './errors.ts';
import type { CloneOverrides } from './fork-folder.ts';
import { forkVm, type ForkOptions } from './fork.ts';
import { serveFs, VmShares, type ProvidedFs } from './fs-share.ts';
import { listenForNotify, NOTIFY_CREDENTIAL, type NotifyListener } from './notify/listener.ts';
import type { NotifyMessage } from './notify/message.ts';
import { waitForReady } from './notify/ready.ts';
import { waitForSsh } from './notify/ssh-answer.ts';
import { isShutDown, vmEnd, type VmEnd } from './vm-end.ts';
import { connectVsock } from './vsock.ts';
import { startVmm, type VmmOptions, type VmmProcess } from './vmm-process.ts';

/** Options of {@link VirtualMachine.launch}. */
export interface LaunchOptions extends VmmOptions {
  /** Way to the guest's SSH server; port 22 of the vsock as `root` without a key by default */
  readonly guest?: GuestOptions;
  /**
   * Receives the reports of the guest's systemd (256 or newer) about its boot and its shutdown; `true` receives them for
   * {@link VirtualMachine.ready} alone. The VM must have a vsock. systemd waits for the end of each report: a process that blocks its event
   * loop stops the guest's boot.
   */
  readonly notify?: boolean | ((message: NotifyMessage) => void);
}

/** Options of {@link VirtualMachine.attach}. */
export interface AttachOptions extends CallOptions {
  readonly guest?: GuestOptions;
}

/** Options of {@link VirtualMachine.restore}. */
export interface RestoreOptions
  extends Omit<LaunchOptions, 'notify'>, Omit<RequestBody<'vm.restore'>, 'source_url' | 'net_fds'> {
  /**
   * TAPs of this clone by network id: open descriptors of this process, one for each pair of queues. The VMM gets copies;
   * the caller closes its own.
   */
  readonly netFds?: Readonly<Record<string, readonly number[]>>;
}

/** Options of {@link VirtualMachine.snapshot}. */
export interface SnapshotOptions extends CallOptions {
  /** Resume the VM after the snapshot; by default if it was Running before */
  readonly resume?: boolean;
}

/**
 * A virtual machine with a VMM of its own. Both end with this process, or when this object is disposed:
 *
 * ```ts
 * await using vm = await VirtualMachine.launch({ cpus: { boot_vcpus: 1, max_vcpus: 1 }, kernel: { path } });
 * await vm.serial.waitFor('login:', { timeoutMs: 60_000 });
 * ```
 */
export class VirtualMachine implements AsyncDisposable {
  readonly #vmm: VmmProcess;
  readonly #ended: () => Promise<VmEnd>;
  readonly #consoles: VmConsoles;
  readonly #shares: VmShares;
  readonly #guestOptions: GuestOptions;
  readonly #guest: GuestLink;
  #vsockPath: string | undefined;
  #onDisposed: () => void = () => undefined;
  #notify: NotifyListener | undefined;

  private constructor(vmm: VmmProcess, ended: () => Promise<VmEnd>, guest: GuestOptions = {}) {
    this.#vmm = vmm;
    this.#shares = new VmShares(vmm.events);
    this.#consoles = createVmConsoles();
    this.#guestOptions = guest;
    this.#guest = createGuestLink(guest, () => this.#vsockPath);
    this.#ended = ended;
  }

  /**
   * Starts a VMM, creates the VM and boots it. By default the serial port is a PTY and the virtio console is off. Sizes are
   * `bytes`. A failed launch leaves nothing behind.
   * @throws {LaunchError} if the VMM cannot start, or `options.signal` aborts the launch
   * @throws {RequestError} if the VM cannot be created or booted
   */
  static launch(config: VmConfigInput, options: LaunchOptions = {}): Promise<VirtualMachine> {
    const { notify = false, ...rest } = options;
    return VirtualMachine.#start(rest, async (vm, call) => {
      if (notify !== false)
        vm.#notify = await listenForNotify(vsockOf(config), notify === true ? undefined : notify);
      const created = notify === false ? config : withNotifyCredential(config);
      await vm.client.call(
        'vm.create',
        { serial: { mode: 'Pty' }, console: { mode: 'Off' }, ...created },
        call,
      );
      await vm.client.call('vm.boot', undefined, call);
    });
  }

  /**
   * Starts a VMM with the VM of a snapshot. The VM runs at once unless `resume` is false. `overrides` has the resources of
   * this clone: its TAPs, disks, shared directories, vsock socket.
   * @throws as {@link VirtualMachine.launch}
   */
  static restore(directory: string, options: RestoreOptions = {}): Promise<VirtualMachine> {
    const { overrides, prefault, resume = true, netFds = {} } = options;
    const nets = Object.entries(netFds);
    const request = {
      source_url: urlOf(directory),
      resume,
      ...(prefault !== undefined && { prefault }),
      ...(overrides !== undefined && { overrides }),
      ...(nets.length > 0 && { net_fds: nets.map(([id, { length }]) => ({ id, num_fds: length })) }),
    };
    const fds = nets.flatMap(([, one]) => one);
    return VirtualMachine.#start(options, ({ client }, call) =>
      client.call('vm.restore', request, { ...call, fds }),
    );
  }

  /**
   * Returns the VM of a VMM that another process owns, by the path of its API socket. Disposal closes its consoles and connections, and
   * leaves the VM alone. A console is opened on first use; another reader then misses the output.
   * @throws {TransportError} if no VMM answers
   * @throws {NotFoundError} if it has no VM
   */
  static async attach(socketPath: string, options: AttachOptions = {}): Promise<VirtualMachine> {
    const { guest, ...call } = options;
    const vmm = await attachVmm(socketPath, call);
    let ended: Promise<VmEnd> | undefined;
    const vm = new VirtualMachine(vmm, () => (ended ??= watchEnd(vmm.client, vmm.detached)), guest);
    await vm.#readConfig(call);
    return vm;
  }

  static async #start(
    options: Omit<LaunchOptions, 'notify'>,
    begin: (vm: VirtualMachine, call: CallOptions) => Promise<void>,
  ): Promise<VirtualMachine> {
    if (Object.keys(options.guest ?? {}).length > 0) prepareGuestLink();
    const vmm = await startVmm(options);
    const isShut = (): Promise<boolean> => isShutDown(vmm.client);
    const ended = vmEnd({ events: vmm.events, isShutDown: isShut, vmmEnded: vmm.ended });
    const vm = new VirtualMachine(vmm, () => ended, options.guest);
    const call = options.signal === undefined ? {} : { signal: options.signal };
    try {
      await begin(vm, call);
      await vm.#readConfig(call);
      vm.#consoles.openAll();
      return vm;
    } catch (error) {
      await vm[Symbol.asyncDispose]();
      if (options.signal?.aborted === true) throw new LaunchError('the start was aborted', { cause: error });
      throw error;
    }
  }

  /** Client for all endpoints, also those without a method here */
  get client(): Client {
    return this.#vmm.client;
  }

  /** Process id of the VMM */
  get pid(): number {
    return this.#vmm.pid;
  }

  /**
   * Settles when the VM has ended: by the guest's power-off, a client's vm.shutdown or vm.delete, or a QEMU or VMM that
   * crashes or is killed. Never rejects.
   */
  get ended(): Promise<VmEnd> {
    return this.#ended();
  }

  /** Serial port. @throws if its mode is not `Pty` */
  get serial(): Console {
    return this.#consoles.get('serial');
  }

  /** Virtio console. @throws if its mode is not `Pty` */
  get console(): Console {
    return this.#consoles.get('console');
  }

  /**
   * Waits until the guest is ready. A VM that was launched with `notify` is ready when its systemd has booted. Another one is ready when the
   * SSH server on port 22 of its vsock answers.
   * @throws {ReadyError} on timeout, abort, or if the VM ends first
   */
  async ready(options: CallOptions = {}): Promise<void> {
    if (this.#notify !== undefined) return waitForReady(this.#notify, this.#ended(), options);
    if (this.#vsockPath === undefined)
      throw new Error('the VM has no vsock: its guest cannot tell whether it is ready');
    return waitForSsh(this.#vsockPath, this.#ended(), options);
  }

  /** Returns the configuration, the state, and the guest's RAM in `bytes`. */
  info(options?: CallOptions): Promise<ReplyBody<'vm.info'>> {
    return this.client.call('vm.info', undefined, options);
  }

  /** Returns counters since boot by device id and name, e.g. `_disk0` and `read_bytes`. */
  counters(options?: CallOptions): Promise<ReplyBody<'vm.counters'>> {
    return this.client.call('vm.counters', undefined, options);
  }

  /** Stops the vCPUs. */
  pause(options?: CallOptions): Promise<void> {
    return this.client.call('vm.pause', undefined, options);
  }

  /** Resumes a paused VM. */
  resume(options?: CallOptions): Promise<void> {
    return this.client.call('vm.resume', undefined, options);
  }

  /** Reboots the VM; its consoles stay open. */
  reboot(options?: CallOptions): Promise<void> {
    return this.client.call('vm.reboot', undefined, options);
  }

  /** Presses the power button. A guest that handles it powers off, and {@link ended} settles. */
  powerButton(options?: CallOptions): Promise<void> {
    return this.client.call('vm.power-button', undefined, options);
  }

  /** Changes the number of vCPUs, the RAM or the balloon, in `bytes`. Sizes that are not given stay. */
  resize(sizes: RequestBody<'vm.resize'>, options?: CallOptions): Promise<void> {
    return this.client.call('vm.resize', sizes, options);
  }

  /** Hot-plugs a disk. @returns its id and PCI address */
  addDisk(disk: RequestBody<'vm.add-disk'>, options?: CallOptions): Promise<ReplyBody<'vm.add-disk'>> {
    return this.client.call('vm.add-disk', disk, options);
  }

  /** Hot-plugs a network interface, on the TAP of `options.fds` if given. @returns its id and PCI address */
  addNet(net: RequestBody<'vm.add-net'>, options?: DescriptorOptions): Promise<ReplyBody<'vm.add-net'>> {
    return this.client.call('vm.add-net', net, options);
  }

  /**
   * Hot-plugs a file system, which the guest mounts by its `tag` (`mount -t virtiofs <tag> /mnt`): a `directory` of the VMM's host, a
   * virtiofsd on `socket`, or a `provider` in this process, which is used until the device is removed or the VM ends.
   *
   * A directory may be `readonly`. `cache` tells whether other programs change it (`auto`, the default, or `never`) or this guest
   * alone (`always`). docs/shared-directories.md describes all options.
   * @returns its id and PCI address
   */
  async addFs(
    fs: RequestBody<'vm.add-fs'> | ProvidedFs,
    options?: CallOptions,
  ): Promise<ReplyBody<'vm.add-fs'>> {
    if (!('provider' in fs)) return this.client.call('vm.add-fs', fs, options);
    const share = await serveFs(fs);
    try {
      const added = await this.client.call('vm.add-fs', share.config, options);
      // a VM that is shut down has no answer: the share is then closed with the VM
      this.#shares.add(added?.id ?? share.config.socket, share);
      return added;
    } catch (error) {
      await share.close();
      throw error;
    }
  }

  /** Hot-plugs persistent memory. @returns its id and PCI address */
  addPmem(pmem: RequestBody<'vm.add-pmem'>, options?: CallOptions): Promise<ReplyBody<'vm.add-pmem'>> {
    return this.client.call('vm.add-pmem', pmem, options);
  }

  /** Hot-plugs a vsock. @returns its id and PCI address */
  async addVsock(
    vsock: RequestBody<'vm.add-vsock'>,
    options?: CallOptions,
  ): Promise<ReplyBody<'vm.add-vsock'>> {
    const added = await this.client.call('vm.add-vsock', vsock, options);
    this.#vsockPath = vsock.socket;
    return added;
  }

  /** Passes a PCI device of the host through. @returns its id and PCI address */
  addDevice(
    device: RequestBody<'vm.add-device'>,
    options?: CallOptions,
  ): Promise<ReplyBody<'vm.add-device'>> {
    return this.client.call('vm.add-device', device, options);
  }

  /** Asks the guest to release a device, by its id. `vm.info` lists it until the guest has done so. */
  remove(id: string, options?: CallOptions): Promise<void> {
    return this.client.call('vm.remove-device', { id }, options);
  }

  /** Writes a snapshot to a directory, which is created if necessary. The VM is paused meanwhile. */
  async snapshot(directory: string, options: SnapshotOptions = {}): Promise<void> {
    await mkdir(directory, { recursive: true });
    await this.#snapshotWith(directory, () => Promise.resolve(), options);
  }

  /** Writes a snapshot, and does further work while the VM is paused. */
  async #snapshotWith(
    directory: string,
    whilePaused: () => Promise<void>,
    { resume, ...options }: SnapshotOptions = {},
  ): Promise<void> {
    const ran = (await this.info(options)).state === 'Running';
    if (ran) await this.pause(options);
    try {
      await this.client.call('vm.snapshot', { destination_url: urlOf(directory) }, options);
      await whilePaused();
    } finally {
      if (resume ?? ran) await this.resume(options);
    }
  }

  /**
   * Makes clones of the running VM, which continue from this moment. The VM is paused for the snapshot between. Writable disks of a clone
   * are overlays on a copy, forwards have free ports of the host, the vsock a new socket and CID, and consoles in the modes File and Socket
   * new paths, which {@link info} shows. `overrides` replaces any of them. A clone does not know that it is one: docs/snapshots.md tells what
   * to make new in the guest. The files of all clones are removed when the last one is disposed of.
   * @throws {ForkError} for a VM with devices that cannot be shared; then, and after any failure, there is no clone
   */
  async fork(count: number, { overrides, ...options }: ForkOptions = {}): Promise<VirtualMachine[]> {
    const { config } = await this.info();
    // the vsock of a clone has another socket
    const { socket: _, ...guest } = this.#guestOptions;
    const restore = async (
      directory: string,
      own: CloneOverrides,
      onDisposed: () => void,
    ): Promise<VirtualMachine> => {
      const clone = await VirtualMachine.restore(directory, { guest, ...options, overrides: own });
      clone.#onDisposed = onDisposed;
      return clone;
    };
    const snapshot = (directory: string, whilePaused: () => Promise<void>): Promise<void> =>
      this.#snapshotWith(directory, whilePaused);
    return forkVm({ config, snapshot, restore }, count, overrides);
  }

  /**
   * Connects to a port of the guest over its vsock. The socket is half-open: each direction ends with `end()`.
   * @throws {VsockError} on timeout or abort, and if no program listens
   */
  async connect(port: number, options?: CallOptions): Promise<Socket> {
    if (this.#vsockPath === undefined) throw new Error('the VM has no vsock');
    return connectVsock(this.#vsockPath, port, options);
  }

  /**
   * Returns the connection to the guest's SSH server, which the methods below share. It is made on first use, and again when it has ended.
   * @throws {GuestError} if there is none within 30 s, or within the options' limits
   */
  guest(options?: CallOptions): Promise<Guest> {
    return this.#guest.connect(options);
  }

  /**
   * Runs a command in the guest until it exits; a text is run by `sh -c`. Any exit code is a result.
   * @throws {GuestError} on timeout, abort, a lost connection, or more output than the limit. The command is then dead in the guest
   */
  async exec(argv: GuestCommand['argv'], options: ExecOptions = {}): Promise<ExecResult> {
    return (await this.#guest.connect(options)).exec(argv, options);
  }

  /** Starts a command with streams. @throws {GuestError} */
  async spawn(argv: GuestCommand['argv'], options: SpawnOptions = {}): Promise<GuestProcess> {
    return (await this.#guest.connect(options)).spawn(argv, options);
  }

  /** Starts a log-in shell in a terminal. @throws {GuestError} */
  async shell(options: SpawnOptions = {}): Promise<GuestProcess> {
    return (await this.#guest.connect(options)).shell(options);
  }

  /** Copies a file, a directory or a stream to a path in the guest, by SFTP. @throws {GuestError} */
  async upload(from: string | Readable, to: string, options: TransferOptions = {}): Promise<void> {
    return (await this.#guest.connect(options)).upload(from, to, options);
  }

  /** Copies a file or a directory of the guest to a path, or a file to a stream, by SFTP. @throws {GuestError} */
  async download(from: string, to: string | Writable, options: TransferOptions = {}): Promise<void> {
    return (await this.#guest.connect(options)).download(from, to, options);
  }

  /**
   * Listens on a port of this host (0: a free one) and connects its clients to a TCP port of the guest's loopback, through SSH. It ends
   * with its disposal or the VM's.
   * @throws the system's error if it cannot listen
   */
  forward(hostPort: number, guestPort: number, options?: ForwardOptions): Promise<Forward> {
    return this.#guest.forward(hostPort, guestPort, options);
  }

  /** Ends the VM and its VMM, by vmm.shutdown or else SIGKILL. Leaves no process, socket or folder. An attached VM continues. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#guest[Symbol.asyncDispose]();
    this.#consoles.close();
    await this.#vmm[Symbol.asyncDispose]();
    await this.#notify?.[Symbol.asyncDispose]();
    await this.#shares[Symbol.asyncDispose]();
    this.#onDisposed();
    this.#onDisposed = () => undefined;
  }

  async #readConfig(call: CallOptions): Promise<void> {
    const { config } = await this.info(call);
    this.#vsockPath = config.vsock?.socket;
    this.#consoles.set(config);
  }
}

function vsockOf({ vsock }: VmConfigInput): string {
  if (vsock?.socket !== undefined) return vsock.socket;
  throw new Error('a VM with `notify` needs a vsock');
}

/** Adds the credential with the address of this process to a configuration. */
function withNotifyCredential(config: VmConfigInput): VmConfigInput {
  const strings = config.platform?.oem_strings ?? [];
  return { ...config, platform: { ...config.platform, oem_strings: [...strings, NOTIFY_CREDENTIAL] } };
}

/** Returns the URL of a directory: `file://` and the unchanged path. */
function urlOf(directory: string): string {
  return `file://${resolve(directory)}`;
}
