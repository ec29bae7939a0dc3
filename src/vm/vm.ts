import type { VmState } from '../api/replies.ts';
import { dialectOf, type Dialect } from '../config/dialect.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { withAddresses } from './addresses.ts';
import type { Consoles } from './consoles.ts';
import { createVariablesStore, type VariablesStore } from './launch/efi-variables.ts';
import type { Machine } from './machine.ts';
import { phaseAfter, stateAfter, type StateTransition } from './transitions.ts';

/*
 * A VM and its states. `transitions.ts` holds the same as a table, with the operations and guest events of each arrow.
 *
 *                 create                      restore, receive-migration
 *      (none) ------------> Created          (none) ----------------.
 *                              |                                    |
 *                         boot |   .--------------------------.     |
 *                              v   v        pause             |     v
 *                             Running ------------------------+-> Paused
 *                              |   ^  <-----------------------'     |
 *        shutdown, power-off,  |   |        resume                  | shutdown, crash
 *        crash, failed reboot  v   | boot                           |
 *                             Shutdown <----------------------------'
 *
 *      delete leads from every state to (none); reboot from Running and Paused to Running; boot of a VM with `gdb` to Paused.
 *
 * Invariants: `booted` is defined while the VM is Running or Paused, except during a reboot; only an operation in the queue of the VMM
 * (`operation-queue.ts`), and the events of a debugger, change a VM.
 */

/** Machine of a VM, and the host ends of its consoles, which stay open when a reboot replaces the machine. */
export interface BootedMachine {
  readonly consoles: Consoles;
  readonly machine: Machine;
}

/** A VM from vm.create, vm.restore or vm.receive-migration until vm.delete. */
export class Vm {
  /** input of the next boot: hot-plug and resizes change it, and it keeps ids, MAC addresses and formats that boots chose */
  config: VmConfig;
  /** undefined unless the VM is Running or Paused */
  booted: BootedMachine | undefined;
  /** images that were attached as raw, by identity: their format stays raw, whatever the guest writes into them */
  readonly rawImages: Set<string>;
  /** EFI variables that have no file */
  readonly variables: VariablesStore;
  #state: VmState;

  private constructor(created: Pick<Vm, 'config' | 'booted' | 'rawImages' | 'variables' | 'state'>) {
    this.config = created.config;
    this.booted = created.booted;
    this.rawImages = created.rawImages;
    this.variables = created.variables;
    this.#state = created.state;
  }

  /** Returns a VM that has a configuration and no machine. */
  static create(config: VmConfig): Vm {
    return new Vm({
      config: withAddresses(config),
      booted: undefined,
      rawImages: new Set(),
      variables: createVariablesStore(),
      state: stateAfter('create', 'none'),
    });
  }

  /** Returns the VM of a machine that was restored from a snapshot or received by a live migration. */
  static adopt(
    booted: BootedMachine,
    transition: 'restore' | 'receive-migration',
    kept: Pick<Vm, 'rawImages' | 'variables'>,
  ): Vm {
    return new Vm({
      config: booted.machine.config,
      booted,
      ...kept,
      state: stateAfter(transition, 'none'),
    });
  }

  get state(): VmState {
    return this.#state;
  }

  /** Changes to the state that `transitions.ts` has. @throws Error if it has none */
  change(transition: StateTransition): void {
    this.#state = stateAfter(transition, this.#state);
  }

  /** Checks that the VM may be deleted. @throws Error if it must not */
  checkDelete(): void {
    phaseAfter('delete', this.#state);
  }
}

/** Returns the dialect of the VM; undefined if there is no VM. */
export function dialectOfVm(vm: Vm | undefined): Dialect | undefined {
  return vm === undefined ? undefined : dialectOf(vm.config);
}
