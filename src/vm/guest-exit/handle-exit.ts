import { errorChain } from '../../api/errors.ts';
import type { QemuExit } from '../../qemu/process/exit.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import { createLog } from '../../util/log.ts';
import type { OnVmEvent } from '../events.ts';
import { pauseVm, stopVm } from '../power.ts';
import type { Vm } from '../vm.ts';
import { outcomeOfCrash, outcomeOf, PANIC, type ExitPolicies, type Outcome } from './outcome.ts';

/*
 * Exits of QEMU without a request, and panics of the guest's kernel. `outcome.ts` decides the consequence by the policies of the
 * command line; this file carries it out.
 */

const log = createLog('vm');

/** Actions that can follow an exit of QEMU, or a panic of its guest. */
export interface ExitActions {
  readonly policies: ExitPolicies;
  readonly emit: OnVmEvent;
  /** Deletes the VM and ends the VMM; a `problem` makes its exit code 1. */
  readonly exit: (vm: Vm, problem: string | undefined) => Promise<void>;
  /** Starts a new machine from the same configuration. Its vCPUs stay stopped before their first instruction if it `startsPaused`. */
  readonly restart: (vm: Vm, signals: ShutdownSignals, startsPaused: boolean) => Promise<void>;
}

/** Handles an exit without a request. `guestFailure` is a failure of the guest before it, e.g. a panic. */
export async function handleExit(
  actions: ExitActions,
  vm: Vm,
  end: QemuExit & { readonly guestFailure: string | undefined },
  signals: ShutdownSignals,
): Promise<void> {
  if (end.reason === 'power-off') log.info('the guest powered itself off');
  if (end.reason === 'reset') log.info('the guest reset itself');
  const outcome = outcomeOf(end, end.guestFailure, actions.policies);
  if (end.reason === 'reset' && outcome.action === 'exit') actions.emit({ source: 'guest', event: 'reset' });
  await carryOut(actions, vm, outcome, signals);
}

/** Carries out the action of `--on-panic`; the vCPUs are stopped. */
export async function handlePanic(actions: ExitActions, vm: Vm, signals: ShutdownSignals): Promise<void> {
  const { onPanic } = actions.policies;
  if (onPanic === undefined) return;
  if (onPanic !== 'pause') return carryOut(actions, vm, { action: onPanic, problem: PANIC }, signals);
  if (vm.state === 'Running') await pauseVm(vm, actions.emit);
}

async function carryOut(
  actions: ExitActions,
  vm: Vm,
  { action, problem, isCrash = false }: Outcome,
  signals: ShutdownSignals,
): Promise<void> {
  if (isCrash) actions.emit({ source: 'vm', event: 'crashed', properties: { reason: String(problem) } });
  switch (action) {
    case 'exit':
      if (problem !== undefined) log.error(problem);
      return actions.exit(vm, problem);
    case 'stop':
      if (problem !== undefined) log.error(`${problem}: the VM is shut down and can be booted again`);
      return stopVm(vm, actions.emit);
    case 'restart':
    case 'pause':
      return restart(actions, vm, action === 'pause', signals);
  }
}

async function restart(
  actions: ExitActions,
  vm: Vm,
  startsPaused: boolean,
  signals: ShutdownSignals,
): Promise<void> {
  try {
    await actions.restart(vm, signals, startsPaused);
  } catch (error) {
    // a shutdown of the VM or VMM has aborted the restart, which is no failure
    if (signals.waits.aborted) return;
    const problem = `Error rebooting VM: ${errorChain(error).join(': ')}`;
    await carryOut(actions, vm, outcomeOfCrash(problem, actions.policies.isServed), signals);
  }
}
