import { ApiError, errorChain } from '../api/errors.ts';
import { checkPhase, type Handlers } from '../api/handlers.ts';
import type { PciDeviceInfo, VmCounters } from '../api/replies.ts';
import type { RestoreConfig, VmReceiveMigrationData } from '../api/requests.ts';
import type { RouteName } from '../api/routes.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { disk } from '../devices/disk.ts';
import { fs } from '../devices/fs.ts';
import { net, type NetConfig } from '../devices/net.ts';
import { pmem } from '../devices/pmem.ts';
import { vfio } from '../devices/vfio.ts';
import { vsock } from '../devices/vsock.ts';
import type { QemuEnd } from '../qemu/process.ts';
import type { QmpEvent } from '../qemu/qmp.ts';
import { deferred } from '../util/deferred.ts';
import { createLog } from '../util/log.ts';
import { dumpCore } from './coredump.ts';
import { countersOf } from './counters.ts';
import { addDevice } from './hotplug/add.ts';
import { isAbsent, onDeviceDeleted, removeDevice } from './hotplug/remove.ts';
import { watchDrivers, type DriverWatch } from './driver-watch.ts';
import { orEnd } from './engine-end.ts';
import { deviceRemoved, turn, vmEventOf, type OnVmEvent, type Turn } from './events.ts';
import { vmInfo } from './info.ts';
import { receiveVm } from './move/receive.ts';
import { sendVm } from './move/send.ts';
import { createQueue, withCleanup } from './queue.ts';
import { createReceivedDescriptors, withDescriptors } from './received-descriptors.ts';
import { resizeDisk } from './resize/disk.ts';
import { resizeZone } from './resize/ram.ts';
import { resizeVm } from './resize/resize.ts';
import type { Run } from './run.ts';
import { withNetDescriptors } from './snapshot/restored-nets.ts';
import { restoreVm } from './snapshot/restore.ts';
import { snapshotVm } from './snapshot/save.ts';
import {
  bootVm,
  createVm,
  endWaits,
  injectNmi,
  pauseVm,
  pressPowerButton,
  restartVm,
  resumeVm,
  stopVm,
  type Live,
  type Vm,
} from './vm.ts';

const log = createLog('vm');

/** How the VMM's work ended; `problem` is undefined for a regular end. */
export interface VmmEnd {
  readonly problem: string | undefined;
}

/** What the VMM is made with. */
export interface VmmOptions {
  /** what vmm.ping answers */
  readonly version: string;
  readonly buildVersion: string;
  /** called with each event, in order */
  readonly onEvent: OnVmEvent;
  /** whether `activated` and `reset` of virtio devices are among the events: seeing them costs the engine something */
  readonly watchesDrivers: boolean;
  /** a guest that powers itself off ends its VM only, which stays Shutdown */
  readonly staysUp: boolean;
}

/**
 * The machine monitor: at most one VM, one operation at a time in order of arrival;
 * vmm.ping, vm.info and vm.counters do not wait.
 */
export class Vmm {
  readonly #version: string;
  readonly #buildVersion: string;
  readonly #received = createReceivedDescriptors();
  readonly #queue = withCleanup(createQueue(), () => this.#received.closeUnused(this.#vm));
  readonly #over = deferred<VmmEnd>();
  #vm: Vm | undefined;
  /** ends the waits of a VMM without a VM */
  readonly #waits = new AbortController();
  #isOver = false;
  readonly #emit: OnVmEvent;
  readonly #watchesDrivers: boolean;
  readonly #staysUp: boolean;

  constructor({ version, buildVersion, onEvent, watchesDrivers, staysUp }: VmmOptions) {
    this.#version = version;
    this.#buildVersion = buildVersion;
    this.#emit = onEvent;
    this.#watchesDrivers = watchesDrivers;
    this.#staysUp = staysUp;
  }

  /** The VM that there is, for those who only look at it. */
  get vm(): Vm | undefined {
    return this.#vm;
  }

  /** Settles when the VMM is to exit: vmm.shutdown, the guest's power-off, {@link shutdown}. */
  get ended(): Promise<VmmEnd> {
    return this.#over.promise;
  }

  /** What the API calls. */
  readonly handlers: Handlers = {
    'vmm.ping': async () => ({
      version: this.#version,
      build_version: this.#buildVersion,
      pid: process.pid,
      features: [],
    }),
    'vmm.shutdown': () => this.shutdown(),
    'vm.info': async () => vmInfo(this.#present('vm.info')),
    'vm.counters': () => this.#counters(),
    'vm.create': (config) => this.#queue(() => this.#create(config)),
    'vm.boot': () => this.#operation('vm.boot', (vm) => this.#boot(vm)),
    'vm.pause': () => this.#operation('vm.pause', (vm) => pauseVm(vm, this.#emit)),
    'vm.resume': () => this.#operation('vm.resume', (vm) => resumeVm(vm, this.#emit)),
    'vm.shutdown': () => this.#ending('vm.shutdown', (vm) => stopVm(vm, this.#emit)),
    'vm.reboot': () => this.#operation('vm.reboot', (vm) => this.#restart(vm)),
    'vm.nmi': () => this.#operation('vm.nmi', injectNmi),
    'vmm.nmi': () => this.#operation('vmm.nmi', injectNmi),
    'vm.power-button': () => this.#operation('vm.power-button', pressPowerButton),
    'vm.delete': () => this.#ending('vm.delete', (vm) => this.#delete(vm)),
    'vm.resize': (sizes) =>
      this.#operation('vm.resize', (vm) =>
        onLive(vm, (live) => this.#during(['resizing', 'resized'], () => resizeVm(vm, live, sizes))),
      ),
    'vm.resize-zone': (request) =>
      this.#operation('vm.resize-zone', (vm) => onLive(vm, (live) => resizeZone(vm, live, request))),
    'vm.resize-disk': (request) =>
      this.#operation('vm.resize-disk', (vm) => onLive(vm, ({ run }) => resizeDisk(run, request))),
    'vm.add-device': (config) => this.#operation('vm.add-device', (vm) => addDevice(vm, vfio, config)),
    'vm.add-disk': (config) => this.#operation('vm.add-disk', (vm) => addDevice(vm, disk, config)),
    'vm.add-fs': (config) => this.#operation('vm.add-fs', (vm) => addDevice(vm, fs, config)),
    'vm.add-net': (config, files) => this.#addNet(config, files?.take() ?? []),
    'vm.add-pmem': (config) => this.#operation('vm.add-pmem', (vm) => addDevice(vm, pmem, config)),
    'vm.add-vsock': (config) => this.#operation('vm.add-vsock', (vm) => addDevice(vm, vsock, config)),
    'vm.snapshot': (request) =>
      this.#operation('vm.snapshot', (vm) =>
        onLive(vm, ({ run }) =>
          this.#during(['snapshotting', 'snapshotted'], () => snapshotVm(vm, run, request)),
        ),
      ),
    'vm.coredump': ({ destination_url: url }) =>
      this.#operation('vm.coredump', (vm) =>
        onLive(vm, ({ run }) => this.#during(['coredumping', 'coredumped'], () => dumpCore(run, url))),
      ),
    'vm.restore': (request, files) => this.#queue(() => this.#restore(request, files?.take() ?? [])),
    'vm.send-migration': ({ destination_url: url }) =>
      this.#operation('vm.send-migration', (vm) =>
        onLive(vm, ({ run }) => this.#during(['pausing', 'paused'], () => sendVm(vm, run, url))),
      ),
    'vm.receive-migration': (request) => this.#queue(() => this.#receive(request)),
    'vm.remove-device': ({ id }) => this.#operation('vm.remove-device', (vm) => removeDevice(vm, id)),
  };

  /** Ends the VM, if there is one, and then the VMM; waits for the operations before it. */
  shutdown(): Promise<void> {
    this.#waits.abort();
    if (this.#vm !== undefined) endWaits(this.#vm);
    return this.#queue(async () => {
      if (this.#vm !== undefined) await this.#delete(this.#vm);
      this.#end();
    });
  }

  /** Queues an operation on the VM that there is when its turn comes. */
  #operation<T>(route: RouteName, act: (vm: Vm) => Promise<T>): Promise<T> {
    return this.#queue(() => {
      log.info(route);
      return act(this.#present(route));
    });
  }

  /** An operation that takes the VM from the one that is waiting for the host. */
  #ending<T>(route: RouteName, act: (vm: Vm) => Promise<T>): Promise<T> {
    if (this.#vm !== undefined) endWaits(this.#vm);
    return this.#operation(route, act);
  }

  #present(route: RouteName): Vm {
    checkPhase(route, this.#vm?.state ?? 'none');
    // no route that gets here is legal without a VM
    if (this.#vm === undefined) throw new ApiError('no-vm', 'The VM is not created');
    return this.#vm;
  }

  async #create(config: VmConfig): Promise<void> {
    checkPhase('vm.create', this.#vm?.state ?? 'none');
    log.info('vm.create');
    this.#vm = createVm(config);
  }

  #addNet(config: NetConfig, fds: readonly number[]): Promise<PciDeviceInfo | undefined> {
    return this.#queue(() => {
      this.#received.add(fds);
      log.info('vm.add-net');
      return addDevice(this.#present('vm.add-net'), net, withDescriptors(config, fds));
    });
  }

  async #restore(request: RestoreConfig, fds: readonly number[]): Promise<void> {
    this.#received.add(fds);
    checkPhase('vm.restore', this.#vm?.state ?? 'none');
    log.info('vm.restore');
    const whole = withNetDescriptors(request, fds);
    const { vm, run } = await this.#during(['restoring', 'restored'], () => restoreVm(whole));
    this.#vm = vm;
    this.#watch(vm, run);
    if (request.resume) await resumeVm(vm, this.#emit);
  }

  async #receive({ receiver_url: url }: VmReceiveMigrationData): Promise<void> {
    checkPhase('vm.receive-migration', this.#vm?.state ?? 'none');
    log.info('vm.receive-migration');
    const { signal } = this.#waits;
    const { vm, run } = await this.#during(['restoring', 'restored'], () => receiveVm(url, signal));
    this.#vm = vm;
    this.#watch(vm, run);
    await resumeVm(vm, this.#emit);
  }

  async #boot(vm: Vm): Promise<void> {
    if (vm.live === undefined) this.#watch(vm, await bootVm(vm, this.#emit));
    else await resumeVm(vm, this.#emit);
  }

  async #restart(vm: Vm): Promise<void> {
    if (vm.live !== undefined) this.#watch(vm, await restartVm(vm, vm.live, this.#emit));
  }

  async #delete(vm: Vm): Promise<void> {
    await stopVm(vm, this.#emit);
    this.#vm = undefined;
    this.#emit(turn('deleted'));
  }

  /** The VMM's work is done. */
  #end(): void {
    if (!this.#isOver) this.#emit({ source: 'vmm', event: 'shutdown' });
    this.#isOver = true;
    this.#over.resolve({ problem: undefined });
  }

  /** Tells the begin of an operation, and its end where it succeeds. */
  async #during<T>([begin, end]: readonly [Turn, Turn], act: () => Promise<T>): Promise<T> {
    this.#emit(turn(begin));
    const done = await act();
    this.#emit(turn(end));
    return done;
  }

  async #counters(): Promise<VmCounters> {
    const { live } = this.#present('vm.counters');
    return live === undefined ? {} : countersOf(live.run);
  }

  #watch(vm: Vm, run: Run): void {
    const drivers = this.#watchesDrivers ? watchDrivers(run, this.#emit) : undefined;
    run.qemu.onEvent((message) => {
      const { event, data } = message;
      if (event === 'DEVICE_DELETED' && !isAbsent(run, data))
        void this.#queue(() => this.#onDeviceDeleted(run, data, drivers));
      const own = vmEventOf(message, run.layout.placements);
      if (own !== undefined) this.#emit(own);
    });
    void run.qemu.ended.then((end) => this.#queue(() => this.#onEnd(vm, run, end)));
  }

  async #onDeviceDeleted(run: Run, data: QmpEvent['data'], drivers: DriverWatch | undefined): Promise<void> {
    const gone = await onDeviceDeleted(run, data);
    if (gone === undefined) return;
    drivers?.gone(gone.id);
    this.#emit(deviceRemoved(gone));
  }

  /** A machine ended without being asked to. */
  async #onEnd(vm: Vm, run: Run, { reason, detail }: QemuEnd): Promise<void> {
    if (vm.live?.run !== run) return;
    switch (reason) {
      case 'power-off':
        log.info('the guest powered itself off');
        if (this.#staysUp) return stopVm(vm, this.#emit);
        await this.#delete(vm);
        this.#end();
        break;
      case 'reset':
        log.info('the guest reset itself');
        await this.#restart(vm).catch((error: unknown) => {
          this.#over.resolve({ problem: `Error rebooting VM: ${errorChain(error).join(': ')}` });
        });
        break;
      case 'quit':
      case 'crash':
        log.error(`QEMU ended unexpectedly (${detail}): the VM is shut down and can be booted again`);
        await stopVm(vm, this.#emit);
        break;
    }
  }
}

/** Does something to the machine that runs; the route's phases have seen to it that one does. */
async function onLive<T>({ live }: Vm, act: (live: Live) => Promise<T>): Promise<T> {
  if (live === undefined) throw new ApiError('wrong-state', 'The VM is not booted');
  return orEnd(live.run.qemu, () => act(live));
}
