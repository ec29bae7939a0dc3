import { ApiError, errorChain } from '../api/errors.ts';
import { checkPhase, type Handlers } from '../api/handlers.ts';
import type { PciDeviceInfo } from '../api/replies.ts';
import type { RestoreConfig, VmReceiveMigrationData } from '../api/requests.ts';
import type { Phase } from '../api/route.ts';
import type { RouteName } from '../api/routes.ts';
import { dialectOf } from '../config/dialect.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { AnyConfig, ConfigOf, Device } from '../devices/device.ts';
import { disk } from '../devices/disk/index.ts';
import { fs } from '../devices/fs/index.ts';
import { net } from '../devices/net/index.ts';
import { pmem } from '../devices/pmem/index.ts';
import { vfio } from '../devices/vfio/index.ts';
import { vsock } from '../devices/vsock/index.ts';
import { deferred } from '../util/deferred.ts';
import type { EndSignals } from '../util/shutdown-signals.ts';
import { createLog } from '../util/log.ts';
import { hurryPathCalls } from '../util/path-deadline.ts';
import { concludeEnd, concludePanic, type Conclusions } from './guest-exit/conclude.ts';
import { dumpCore } from './coredump.ts';
import { countersOfVm } from './observe/counters.ts';
import { addDevice } from './hotplug/add.ts';
import { withoutDevice } from '../config/merge.ts';
import { giveBackEjected } from './hotplug/ejected.ts';
import { followDebugger } from './observe/follow-debugger.ts';
import { removeDevice } from './hotplug/remove.ts';
import { orFailure } from './guest-exit/qemu-exit.ts';
import { turn, type OnVmEvent, type Turn } from './events.ts';
import { vmInfo } from './observe/info.ts';
import { watchMachine } from './observe/machine-watch.ts';
import { receiveVm } from './migration/receive.ts';
import { sendVm } from './migration/send.ts';
import { createQueue, type Operation } from './operation-queue.ts';
import { createReceivedDescriptors, withDescriptors } from './received-descriptors.ts';
import { resizeConfig, resizeZoneOfConfig } from './resize/config.ts';
import { resizeDisk } from './resize/disk.ts';
import { resizeZone } from './resize/ram.ts';
import { resizeVm } from './resize/resize.ts';
import type { Machine } from './launch/machine.ts';
import { withNetDescriptors } from './snapshot/restored-nets.ts';
import { restoreVm } from './snapshot/restore.ts';
import { snapshotVm } from './snapshot/save.ts';
import type { VmmEnd, VmmOptions } from './vmm-options.ts';
import {
  bootVm,
  createVm,
  dialectOfVm,
  injectNmi,
  onLive,
  pauseVm,
  pressPowerButton,
  restartVm,
  resumeVm,
  stopVm,
  type Vm,
} from './vm.ts';

const log = createLog('vm');

/**
 * The machine monitor: at most one VM, one operation at a time in order of arrival;
 * vmm.ping, vm.info and vm.counters do not wait.
 */
export class Vmm {
  readonly #version: string;
  readonly #buildVersion: string;
  readonly #received = createReceivedDescriptors();
  readonly #queue = createQueue(() => this.#received.closeUnused(this.#vm));
  readonly #over = deferred<VmmEnd>();
  #vm: Vm | undefined;
  #isOver = false;
  readonly #emit: OnVmEvent;
  readonly #watchesDrivers: boolean;
  readonly #conclusions: Conclusions;

  constructor({ version, buildVersion, onEvent, watchesDrivers, ...policies }: VmmOptions) {
    this.#version = version;
    this.#buildVersion = buildVersion;
    this.#emit = onEvent;
    this.#watchesDrivers = watchesDrivers;
    this.#conclusions = {
      policies,
      emit: onEvent,
      exit: (vm, problem) => this.#delete(vm).finally(() => this.#end(problem)),
      restart: (vm, signals, holds) => this.#restart(vm, signals, holds),
    };
  }

  /** The VM that there is, for those who only look at it. */
  get vm(): Vm | undefined {
    return this.#vm;
  }

  /** What the VMM has; undefined while an operation may change it. */
  get phaseNow(): Phase | undefined {
    return this.#queue.isIdle() ? (this.#vm?.state ?? 'none') : undefined;
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
    'vm.counters': async () => countersOfVm(this.#present('vm.counters')),
    'vm.create': (config) => this.#run(() => this.#create(config)),
    'vm.boot': () => this.#operation('vm.boot', (vm, signals) => this.#boot(vm, signals)),
    'vm.pause': () => this.#operation('vm.pause', (vm) => pauseVm(vm, this.#emit)),
    'vm.resume': () => this.#operation('vm.resume', (vm) => resumeVm(vm, this.#emit)),
    'vm.shutdown': () => this.#shutDownVm(),
    'vm.reboot': () => this.#operation('vm.reboot', (vm, signals) => this.#restart(vm, signals, false)),
    'vm.nmi': () => this.#operation('vm.nmi', injectNmi),
    'vmm.nmi': () => this.#operation('vmm.nmi', injectNmi),
    'vm.power-button': () => this.#operation('vm.power-button', pressPowerButton),
    'vm.delete': () => this.#deleteVm(),
    'vm.resize': (sizes) =>
      this.#operation('vm.resize', async (vm, { waits }) =>
        vm.live === undefined
          ? resizeConfig(vm, sizes)
          : onLive(vm, (live) =>
              this.#during(['resizing', 'resized'], () => resizeVm(vm, { ...live, waits }, sizes)),
            ),
      ),
    'vm.resize-zone': (request) =>
      this.#operation('vm.resize-zone', async (vm) =>
        vm.live === undefined
          ? resizeZoneOfConfig(vm, request)
          : onLive(vm, (live) => resizeZone(vm, live, request)),
      ),
    'vm.resize-disk': (request) =>
      this.#operation('vm.resize-disk', (vm) => onLive(vm, ({ machine }) => resizeDisk(machine, request))),
    'vm.add-device': (config) => this.#add('vm.add-device', vfio, config),
    'vm.add-disk': (config) => this.#add('vm.add-disk', disk, config),
    'vm.add-fs': (config) => this.#add('vm.add-fs', fs, config),
    'vm.add-net': (config, files) => this.#addNet(config, files?.take() ?? []),
    'vm.add-pmem': (config) => this.#add('vm.add-pmem', pmem, config),
    'vm.add-vsock': (config) => this.#add('vm.add-vsock', vsock, config),
    'vm.snapshot': (request) =>
      this.#operation('vm.snapshot', (vm, signals) =>
        onLive(vm, ({ machine }) =>
          this.#during(['snapshotting', 'snapshotted'], () => snapshotVm(vm, machine, request, signals)),
        ),
      ),
    'vm.coredump': ({ destination_url: url }) =>
      this.#operation('vm.coredump', (vm) =>
        onLive(vm, (live) => this.#during(['coredumping', 'coredumped'], () => dumpCore(live, url))),
      ),
    'vm.restore': (request, files) =>
      this.#run((signals) => this.#restore(request, files?.take() ?? [], signals)),
    'vm.send-migration': ({ destination_url: url }) =>
      this.#operation('vm.send-migration', (vm, signals) => this.#send(vm, url, signals)),
    'vm.receive-migration': (request) => this.#run((signals) => this.#receive(request, signals)),
    'vm.remove-device': ({ id }) =>
      this.#operation('vm.remove-device', (vm, signals) => removeDevice(vm, id, signals)),
  };

  /**
   * Ends the VM, if there is one, and then the VMM, within 5 s: operations before it may end by themselves for a moment, then
   * they are ended. Rejects where QEMU cannot be ended; the VMM ends all the same.
   */
  shutdown(): Promise<void> {
    this.#interrupt();
    return this.#queue.run(async () => {
      try {
        if (this.#vm !== undefined) await this.#delete(this.#vm);
      } catch (error) {
        this.#end(errorChain(error).join(': '));
        throw error;
      }
      this.#end();
    });
  }

  /** Runs an operation when its turn comes, unless the VMM is at its end then. */
  #run<T>(operation: Operation<T>): Promise<T> {
    return this.#queue.run((signals) => {
      if (this.#isOver) throw new ApiError('failed', 'The VMM is at its end');
      return orFailure(() => operation(signals));
    });
  }

  /** Queues an operation on the VM that there is when its turn comes. */
  #operation<T>(route: RouteName, act: (vm: Vm, signals: EndSignals) => Promise<T>): Promise<T> {
    return this.#run(async (signals) => {
      log.info(route);
      if (this.#vm?.live !== undefined) await giveBackEjected(this.#vm.live.machine);
      return act(this.#present(route), signals);
    });
  }

  /** Ends the operations before one that ends the machine: with all of QEMU, where they do not end soon. */
  #interrupt(): void {
    hurryPathCalls();
    this.#queue.interrupt(() => {
      // that it cannot be ended is told by the operation that ends the machine
      this.#vm?.live?.machine.qemu.quit().catch(() => undefined);
    });
  }

  #shutDownVm(): Promise<void> {
    const isBooted = this.#vm?.state === 'Running' || this.#vm?.state === 'Paused';
    this.#interrupt();
    return this.#run(async () => {
      log.info('vm.shutdown');
      // an operation that was ended for this may have left it so
      if (isBooted && this.#vm?.state === 'Shutdown') return;
      await stopVm(this.#present('vm.shutdown'), this.#emit);
    });
  }

  #deleteVm(): Promise<void> {
    this.#interrupt();
    return this.#operation('vm.delete', (vm) => this.#delete(vm));
  }

  #add(route: RouteName, device: Device, config: AnyConfig): Promise<PciDeviceInfo | undefined> {
    return this.#operation(route, (vm, signals) => addDevice(vm, device, config, signals));
  }

  #present(route: RouteName): Vm {
    checkPhase(route, this.#vm?.state ?? 'none', dialectOfVm(this.#vm));
    // no route that gets here is legal without a VM
    if (this.#vm === undefined) throw new ApiError('no-vm', 'The VM is not created');
    return this.#vm;
  }

  async #create(config: VmConfig): Promise<void> {
    checkPhase('vm.create', this.#vm?.state ?? 'none');
    log.info('vm.create');
    this.#vm = createVm(config);
  }

  #addNet(config: ConfigOf<typeof net.struct>, fds: readonly number[]): Promise<PciDeviceInfo | undefined> {
    return this.#run((signals) => {
      this.#received.add(fds);
      log.info('vm.add-net');
      return addDevice(this.#present('vm.add-net'), net, withDescriptors(config, fds), signals);
    });
  }

  async #restore(request: RestoreConfig, fds: readonly number[], signals: EndSignals): Promise<void> {
    this.#received.add(fds);
    checkPhase('vm.restore', this.#vm?.state ?? 'none');
    log.info('vm.restore');
    const whole = withNetDescriptors(request, fds);
    const { vm, machine } = await restoreVm(whole, signals, (config) => this.#tellRestoring(config, false));
    this.#vm = vm;
    await this.#watch(vm, machine);
    this.#tellRestoring(vm.config, true);
    this.#emit(turn('restored'));
    if (request.resume) await resumeVm(vm, this.#emit);
  }

  /** Tells `restoring`, where a configuration's dialect has it at this moment: before its devices are active, or after. */
  #tellRestoring(config: VmConfig, areActive: boolean): void {
    if (dialectOf(config).tellsActivatedFirst === areActive) this.#emit(turn('restoring'));
  }

  async #receive({ receiver_url: url }: VmReceiveMigrationData, signals: EndSignals): Promise<void> {
    checkPhase('vm.receive-migration', this.#vm?.state ?? 'none');
    log.info('vm.receive-migration');
    const { vm, machine } = await receiveVm(url, signals, (config) => this.#tellRestoring(config, false));
    this.#vm = vm;
    await this.#watch(vm, machine);
    this.#tellRestoring(vm.config, true);
    this.#emit(turn('restored'));
    await resumeVm(vm, this.#emit);
  }

  async #send(vm: Vm, url: string, signals: EndSignals): Promise<void> {
    await onLive(vm, ({ machine }) => sendVm(vm, machine, { url, signals, emit: this.#emit }));
    if (!dialectOf(vm.config).endsAfterSending) return;
    log.info('the VM was sent: this VMM ends');
    await this.#delete(vm).then(
      () => this.#end(),
      (error: unknown) => this.#end(errorChain(error).join(': ')),
    );
  }

  async #boot(vm: Vm, signals: EndSignals): Promise<void> {
    if (vm.live === undefined) void this.#watch(vm, await bootVm(vm, { signals, emit: this.#emit }));
    else await resumeVm(vm, this.#emit);
  }

  async #restart(vm: Vm, signals: EndSignals, holds: boolean): Promise<void> {
    if (vm.live === undefined) return;
    void this.#watch(vm, await restartVm(vm, vm.live, { signals, emit: this.#emit, holds }));
  }

  async #delete(vm: Vm): Promise<void> {
    await stopVm(vm, this.#emit);
    this.#vm = undefined;
    this.#emit(turn('deleted'));
  }

  /** The VMM's work is done. */
  #end(problem?: string): void {
    if (!this.#isOver) this.#emit({ source: 'vmm', event: 'shutdown' });
    this.#isOver = true;
    this.#over.resolve({ problem });
  }

  /** Tells the begin of an operation, and its end where it succeeds. */
  async #during<T>([begin, end]: readonly [Turn, Turn], act: () => Promise<T>): Promise<T> {
    this.#emit(turn(begin));
    const done = await act();
    this.#emit(turn(end));
    return done;
  }

  /**
   * What happens to a machine by itself is dealt with between operations, and only while it is the VM's. Resolves once the
   * devices that have a driver already are told of.
   */
  #watch(vm: Vm, machine: Machine): Promise<void> {
    const whileThere = (act: Operation<void>): void => {
      this.#queue
        .run(async (signals) => (vm.live?.machine === machine ? act(signals) : undefined))
        .catch((error: unknown) => {
          const isThere = vm.live?.machine === machine;
          log[isThere ? 'error' : 'debug'](errorChain(error).join(': '));
        });
    };
    const by = this.#conclusions;
    const told = watchMachine(machine, {
      emit: this.#emit,
      watchesDrivers: this.#watchesDrivers,
      onEjected: () => whileThere(() => giveBackEjected(machine)),
      forget: ({ device, id }) => {
        if (device.removable) vm.config = withoutDevice(vm.config, device, id);
      },
      onPanic: by.policies.onPanic && (() => whileThere((signals) => concludePanic(by, vm, signals))),
    });
    machine.qemu.onEvent(({ event }) => {
      if (vm.config.gdb === true && vm.live?.machine === machine) followDebugger(vm, event);
    });
    void machine.qemu.ended.then((end) =>
      whileThere((signals) => concludeEnd(by, vm, { ...end, trouble: machine.trouble }, signals)),
    );
    return told;
  }
}
