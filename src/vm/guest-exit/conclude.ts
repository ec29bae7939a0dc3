import { errorChain } from '../../api/errors.ts';
import type { QemuEnd } from '../../qemu/process/qemu.ts';
import type { EndSignals } from '../../util/shutdown-signals.ts';
import { createLog } from '../../util/log.ts';
import type { OnVmEvent } from '../events.ts';
import { lost, outcomeOf, PANIC, type EndPolicies, type Outcome } from './outcome.ts';
import { pauseVm, stopVm, type Vm } from '../vm.ts';

const log = createLog('vm');

/** What can be done where a machine ends, or its guest panics. */
export interface Conclusions {
  readonly policies: EndPolicies;
  readonly emit: OnVmEvent;
  /** Ends the VM and the VMM; a `problem` makes its exit code 1. */
  readonly exit: (vm: Vm, problem: string | undefined) => Promise<void>;
  /** Makes a new machine from the same configuration, which waits before its first instruction where it `holds`. */
  readonly restart: (vm: Vm, signals: EndSignals, holds: boolean) => Promise<void>;
}

/** Does what follows a machine's end without a request. `trouble` is what went wrong in its guest before. */
export async function concludeEnd(
  by: Conclusions,
  vm: Vm,
  end: QemuEnd & { readonly trouble: string | undefined },
  signals: EndSignals,
): Promise<void> {
  if (end.reason === 'power-off') log.info('the guest powered itself off');
  if (end.reason === 'reset') log.info('the guest reset itself');
  await conclude(by, vm, outcomeOf(end, end.trouble, by.policies), signals);
}

/** Does what `--on-panic` says, with a machine that stands still. */
export async function concludePanic(by: Conclusions, vm: Vm, signals: EndSignals): Promise<void> {
  const { onPanic } = by.policies;
  if (onPanic === undefined) return;
  if (onPanic !== 'pause') return conclude(by, vm, { action: onPanic, problem: PANIC }, signals);
  if (vm.state === 'Running') await pauseVm(vm, by.emit);
}

async function conclude(
  by: Conclusions,
  vm: Vm,
  { action, problem, isLost = false }: Outcome,
  signals: EndSignals,
): Promise<void> {
  if (isLost) by.emit({ source: 'vm', event: 'crashed', properties: { reason: String(problem) } });
  switch (action) {
    case 'exit':
      if (problem !== undefined) log.error(problem);
      return by.exit(vm, problem);
    case 'stop':
      if (problem !== undefined) log.error(`${problem}: the VM is shut down and can be booted again`);
      return stopVm(vm, by.emit);
    case 'restart':
    case 'pause':
      return restart(by, vm, action === 'pause', signals);
  }
}

async function restart(by: Conclusions, vm: Vm, holds: boolean, signals: EndSignals): Promise<void> {
  try {
    await by.restart(vm, signals, holds);
  } catch (error) {
    // the end of the VMM is no failure of the restart
    if (signals.waits.aborted) return;
    const problem = `Error rebooting VM: ${errorChain(error).join(': ')}`;
    await conclude(by, vm, lost(problem, by.policies.isServed), signals);
  }
}
