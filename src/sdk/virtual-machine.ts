import type { Socket } from 'node:net';
import type { VmConfigInput } from '../config/vm-config.ts';
import { makeCloneIdentity } from '../guest/identity/clone-identity.ts';
import type {
  CallOptions,
  Client,
  DescriptorOptions,
  ObserveOptions,
  ReplyBody,
  RequestBody,
} from './client.ts';
import { urlOf, withNewDirectory } from './directories.ts';
import type { OperationOptions } from './operation.ts';
import { snapshotLive, snapshotRequest, type LiveSnapshotResult, type SnapshotOptions } from './snapshot.ts';
import type { Console } from './console.ts';
import { attachVmm, watchEnd } from './attach.ts';
import type { EventOptions, VmmEvent } from './events.ts';
import { GuestMethods } from './guest-methods.ts';
import { createGuestLink, prepareGuestLink, type GuestLink, type GuestOptions } from './guest-link.ts';
import { createVmConsoles, type VmConsoles } from './vm-consoles.ts';
import { LaunchError } from './errors.ts';
import type { CloneOverrides } from './fork-folder.ts';
import { checkForkOptions, forkVm, wantsIdentity, type ForkOptions } from './fork.ts';
import { serveFs, VmShares, type ProvidedFs } from './fs-share.ts';
import { vsockOf, withNotifyCredential } from './notify/configuration.ts';
import { listenForNotify, type NotifyListener } from './notify/listener.ts';
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
  /** Called when the progress of the restore has changed */
  readonly onProgress?: OperationOptions['onProgress'];
}

/**
 * A virtual machine with a VMM of its own. Both end with this process, or when this object is disposed:
 *
 * ```ts
 * await using vm = await VirtualMachine.launch({ cpus: { boot_vcpus: 1, max_vcpus: 1 }, kernel: { path } });
 * await vm.serial.waitFor('login:', { timeoutMs: 60_000 });
 * ```
 */
export class VirtualMachine extends GuestMethods implements AsyncDisposable {
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
    const link = createGuestLink(guest, () => this.#vsockPath);
    super(link);
    this.#guest = link;
    this.#vmm = vmm;
    this.#shares = new VmShares(vmm.events);
    this.#consoles = createVmConsoles(vmm.client.socketPath);
    this.#guestOptions = guest;
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
    const { onProgress } = options;
    return VirtualMachine.#start(options, ({ client }, call) =>
      // one request where nothing is to be observed or cancelled
      onProgress === undefined && call.signal === undefined
        ? client.call('vm.restore', request, { fds })
        : client.observe('vm.restore', request, { ...call, fds, onProgress }),
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
    const call = callOf(options);
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

  /** Serial port. @throws if its mode is `Off` */
  get serial(): Console {
    return this.#consoles.get('serial');
  }

  /** Virtio console. @throws if its mode is `Off` */
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

  /**
   * Returns the events of the VM and its VMM as they come; see {@link Client.events}.
   *
   * ```ts
   * for await (const { event, properties } of vm.events({ signal })) console.log(event, properties);
   * ```
   */
  events(options?: EventOptions): AsyncGenerator<VmmEvent, void, undefined> {
    return this.client.events(options);
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

  /**
   * Removes a device, by its id. Resolves when the guest has released it.
   * @throws {RequestError} if the guest does not release it within `timeoutMs`, 60 s by default; it may still do so later
   */
  removeDevice(id: string, options?: ObserveOptions<'vm.remove-device'>): Promise<void> {
    return this.client.observe('vm.remove-device', { id }, options);
  }

  /**
   * Writes a snapshot to a directory, which is created if necessary. The VM is paused meanwhile, with `live` for some milliseconds only
   * where that is possible: the result has the way. `signal` cancels it: the VM continues, and nothing is left in the directory.
   * Disks are not part of it, unless `disks` asks for it.
   * @throws {CancelledError} if it was cancelled
   */
  snapshot(directory: string, options: SnapshotOptions = {}): Promise<LiveSnapshotResult | undefined> {
    return withNewDirectory(directory, async () => {
      if (options.live ?? options.disks) return snapshotLive(this.client, directory, options);
      await this.#snapshotWith(directory, () => Promise.resolve(), options);
      return undefined;
    });
  }

  /** Writes the guest's RAM and registers to a new ELF file. `signal` cancels it, and no file is left. */
  coredump(path: string, options?: ObserveOptions<'vm.coredump'>): Promise<void> {
    return this.client.observe('vm.coredump', { destination_url: urlOf(path) }, options);
  }

  /**
   * Sends the VM to a VMM that waits for it (`vm.receive-migration`) at `unix:<path>` or `tcp:<host>:<port>`. `signal` cancels it: the VM
   * continues here, and the destination has none.
   */
  migrate(url: string, options?: ObserveOptions<'vm.send-migration'>): Promise<void> {
    return this.client.observe('vm.send-migration', { destination_url: url }, options);
  }

  /** Writes a snapshot, and does further work while the VM is paused. */
  async #snapshotWith(
    directory: string,
    whilePaused: () => Promise<void>,
    options: SnapshotOptions = {},
  ): Promise<void> {
    const { resume, compose } = options;
    // not after an abort: the VM continues also then
    const { signal: _, ...always } = options;
    const ran = (await this.info(options)).state === 'Running';
    if (ran) await this.pause(always);
    const isResumed = resume ?? ran;
    let resumed: Promise<void> | undefined;
    // served after the changed pages are written, and before the composition
    const onAccepted = (): void => {
      options.onAccepted?.();
      if (compose !== true || !isResumed) return;
      resumed = this.resume(always);
      resumed.catch(() => undefined);
    };
    try {
      const request = snapshotRequest(directory, options);
      await this.client.observe('vm.snapshot', request, { ...options, onAccepted });
      await whilePaused();
    } finally {
      if (isResumed) await (resumed ?? this.resume(always));
    }
  }

  /**
   * Makes clones of the running VM, which continue from this moment. The VM is paused for the snapshot between. Writable disks of a clone
   * are overlays on a copy, forwards have free ports of the host, the vsock a new socket and CID, and consoles in the modes File and Socket
   * new paths, which {@link info} shows. `overrides` replaces any of them. Guests with an SSH server get an identity of their own, as the
   * option `identity` tells. The files of all clones are removed when the last one is disposed of.
   * @throws {ForkError} for a VM with devices that cannot be shared
   * @throws {GuestError} for a guest that cannot get an identity of its own. After any failure there is no clone
   */
  async fork(count: number, options: ForkOptions = {}): Promise<VirtualMachine[]> {
    checkForkOptions(options, count);
    const { overrides: _overrides, identity: _identity, hostname: _hostname, ...start } = options;
    const { config } = await this.info();
    // the vsock of a clone has another socket
    const { socket: _, ...guest } = this.#guestOptions;
    const restore = async (
      directory: string,
      own: CloneOverrides,
      onDisposed: () => void,
    ): Promise<VirtualMachine> => {
      const clone = await VirtualMachine.restore(directory, { guest, ...start, overrides: own });
      clone.#onDisposed = onDisposed;
      return clone;
    };
    const snapshot = (directory: string, whilePaused: () => Promise<void>): Promise<void> =>
      this.#snapshotWith(directory, whilePaused);
    const isWanted = wantsIdentity(options, {
      config,
      guest: this.#guestOptions,
      isConnected: this.#guest.isOpen(),
    });
    const identify = async (clone: VirtualMachine, name: string | undefined): Promise<void> => {
      if (isWanted) await makeCloneIdentity(await clone.guest(callOf(start)), name);
    };
    return forkVm({ config, snapshot, restore, identify }, count, options);
  }

  /**
   * Connects to a port of the guest over its vsock. The socket is half-open: each direction ends with `end()`.
   * @throws {VsockError} on timeout or abort, and if no program listens
   */
  async connect(port: number, options?: CallOptions): Promise<Socket> {
    if (this.#vsockPath === undefined) throw new Error('the VM has no vsock');
    return connectVsock(this.#vsockPath, port, options);
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

function callOf({ signal }: Pick<VmmOptions, 'signal'>): CallOptions {
  return signal === undefined ? {} : { signal };
}
