import type { Handlers, StartOperation } from '../api/handlers.ts';
import type { Phase, Upgrades } from '../api/route.ts';
import { createHandlers } from './handlers.ts';
import { shutDownVmm } from './shutdown.ts';
import { acceptViewer } from './view-console.ts';
import type { Vm } from './vm.ts';
import type { VmmExit, VmmOptions } from './vmm-options.ts';
import { createVmmState, type VmmState } from './vmm-state.ts';

/*
 * The virtual machine monitor (VMM) and its VM: all mutable state of the program.
 *
 *   vmm.ts              the VMM for main.ts
 *   forward-console.ts  bytes between a console of the guest, its host end and its viewers; view-console.ts: a viewer
 *   connect-console.ts  switch of a serial port to the VMM for its first viewer
 *   handlers.ts         the table of API handlers; add-handlers.ts: those that attach a device
 *   operations.ts       queueing, checks of the VM's state; operation-queue.ts: the queue itself
 *   registry/           operations of clients that do not wait for the answer: progress, results, cancelling
 *   lifecycle.ts        operations that make a VM or a machine, and the watch of each machine; shutdown.ts: those that stop it
 *   vm.ts               a VM, and the diagram of its states; transitions.ts: the table of states
 *   power.ts            boot, reboot, pause, resume, stop
 *   launch/             start of a machine: boot, restore, receive
 *   devices/            actions of each kind of device on the host: prepare, save, restore
 *   machine-state/      description and memory of a machine that another one continues from
 *   snapshot/           vm.snapshot and vm.restore: files
 *   migration/          vm.send-migration and vm.receive-migration: a connection
 *   hotplug/, resize/   changes of a running machine
 *   observe/            vm.info, vm.counters, metrics, events
 *   guest-exit/         consequences of QEMU's exit and of panics of the guest's kernel
 *
 * Invariants: there is at most one VM. One operation runs at a time, in the order of arrival; vmm.ping, vm.info and vm.counters
 * do not wait for it. Events of a machine become operations, too.
 */

/** A virtual machine monitor. */
export class Vmm {
  readonly #state: VmmState;
  /** functions that serve the API */
  readonly handlers: Handlers;

  constructor(options: VmmOptions) {
    this.#state = createVmmState(options);
    this.handlers = createHandlers(this.#state);
  }

  /** Endpoints whose connections become WebSockets. */
  get upgrades(): Upgrades {
    return new Map([['vm.console', (query) => acceptViewer(this.#state, query)]]);
  }

  /** The VM, for reading only. */
  get vm(): Vm | undefined {
    return this.#state.vm;
  }

  /** Phase of the VM; undefined while an operation may change it. */
  get phaseNow(): Phase | undefined {
    const { queue, vm } = this.#state;
    return queue.isIdle() ? (vm?.state ?? 'none') : undefined;
  }

  /** Starts a request of a client that does not wait for the answer. */
  readonly startOperation: StartOperation = (request) =>
    this.#state.registry.start(request, this.#state.queue.isIdle());

  /** Settles when the VMM is to exit: vmm.shutdown, a power-off by the guest, {@link shutdown}. */
  get ended(): Promise<VmmExit> {
    return this.#state.exit.promise;
  }

  /** Deletes the VM and makes the VMM exit within 5 s; see `shutDownVmm`. */
  shutdown(): Promise<void> {
    return shutDownVmm(this.#state);
  }
}
