import { errorChain } from '../api/errors.ts';
import { createLog } from '../util/log.ts';
import { lifecycleEvent } from './events.ts';
import { interruptOperations, runOnVm, runOperation, vmFor } from './operations.ts';
import { stopVm } from './power.ts';
import type { Vm } from './vm.ts';
import type { VmmState } from './vmm-state.ts';

const log = createLog('vm');

/**
 * Deletes the VM, if there is one, and makes the VMM exit, within 5 s. Queued operations are aborted if they do not finish in time.
 * Rejects if QEMU cannot be killed; the VMM exits also then.
 */
export function shutDownVmm(vmm: VmmState): Promise<void> {
  interruptOperations(vmm);
  return vmm.queue.run(async () => {
    try {
      if (vmm.vm !== undefined) await deleteVm(vmm, vmm.vm);
    } catch (error) {
      endVmm(vmm, errorChain(error).join(': '));
      throw error;
    }
    endVmm(vmm);
  });
}

/** Serves vm.shutdown. */
export function shutDownVm(vmm: VmmState): Promise<void> {
  const isBooted = vmm.vm?.state === 'Running' || vmm.vm?.state === 'Paused';
  interruptOperations(vmm);
  return runOperation(vmm, async () => {
    log.info('vm.shutdown');
    // an aborted reboot has already shut the VM down
    if (isBooted && vmm.vm?.state === 'Shutdown') return;
    await stopVm(vmFor(vmm, 'vm.shutdown'), vmm.emit);
  });
}

/** Serves vm.delete. */
export function requestDelete(vmm: VmmState): Promise<void> {
  interruptOperations(vmm);
  return runOnVm(vmm, 'vm.delete', (vm) => deleteVm(vmm, vm));
}

/** Deletes the VM, then makes the VMM exit: with code 1 if there is a `problem`. */
export async function deleteAndEnd(vmm: VmmState, vm: Vm, problem?: string): Promise<void> {
  await deleteVm(vmm, vm).finally(() => endVmm(vmm, problem));
}

/** Stops the machine of a VM, if it is booted, and removes the VM. */
export async function deleteVm(vmm: VmmState, vm: Vm): Promise<void> {
  await stopVm(vm, vmm.emit);
  vm.checkDelete();
  vm.variables[Symbol.dispose]();
  vmm.vm = undefined;
  vmm.emit(lifecycleEvent('deleted'));
}

/** Makes the VMM exit; a second call changes nothing. */
export function endVmm(vmm: VmmState, problem?: string): void {
  if (!vmm.hasEnded) vmm.emit({ source: 'vmm', event: 'shutdown' });
  vmm.hasEnded = true;
  vmm.endCompositions();
  // their clients get an answer, and no file is left
  Promise.allSettled(vmm.compositions.running).then(
    () => vmm.exit.resolve({ problem }),
    () => undefined,
  );
}
