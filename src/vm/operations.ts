import { ApiError } from '../api/errors.ts';
import { checkPhase } from '../api/handlers.ts';
import type { RouteName } from '../api/routes.ts';
import type { ShutdownSignals } from '../util/shutdown-signals.ts';
import { createLog } from '../util/log.ts';
import { shortenPathDeadlines } from '../util/path-deadline.ts';
import { lifecycleEvent, type LifecycleEvent } from './events.ts';
import { asFailedOperation } from './guest-exit/qemu-exit.ts';
import { releaseEjected } from './hotplug/ejected.ts';
import type { Operation } from './operation-queue.ts';
import { dialectOfVm, type Vm } from './vm.ts';
import type { VmmState } from './vmm-state.ts';

const log = createLog('vm');

/** Queues an operation. It runs after those before it, unless the VMM has ended by then. */
export function runOperation<T>(vmm: VmmState, operation: Operation<T>): Promise<T> {
  return vmm.queue.run((signals) => {
    if (vmm.hasEnded) throw new ApiError('failed', 'The VMM is at its end');
    return asFailedOperation(() => operation(signals));
  });
}

/**
 * Queues an operation of a route on the VM. It rejects with ApiError where the route is not legal in the VM's state by then. `fds`
 * came with the request: after the operation, those that no device uses are closed.
 */
export function runOnVm<T>(
  vmm: VmmState,
  route: RouteName,
  act: (vm: Vm, signals: ShutdownSignals) => Promise<T>,
  fds: readonly number[] = [],
): Promise<T> {
  return runOperation(vmm, async (signals) => {
    vmm.received.add(fds);
    log.info(route);
    if (vmm.vm?.live !== undefined) await releaseEjected(vmm.vm.live.machine);
    return act(vmFor(vmm, route), signals);
  });
}

/**
 * Returns the VM for a route.
 * @throws ApiError where there is none, or the route is not legal in its state
 */
export function vmFor({ vm }: VmmState, route: RouteName): Vm {
  checkRoute(route, vm);
  // no route that gets here is legal without a VM
  if (vm === undefined) throw new ApiError('no-vm', 'The VM is not created');
  return vm;
}

/** Checks a route that makes a VM. @throws ApiError where there is one already */
export function checkNoVm(
  { vm }: VmmState,
  route: 'vm.create' | 'vm.restore' | 'vm.receive-migration',
): void {
  checkPhase(route, vm?.state ?? 'none');
  log.info(route);
}

function checkRoute(route: RouteName, vm: Vm | undefined): void {
  checkPhase(route, vm?.state ?? 'none', dialectOfVm(vm));
}

/** Emits the first event, runs `act`, and emits the second event where it succeeds. */
export async function betweenEvents<T>(
  { emit }: VmmState,
  [before, after]: readonly [LifecycleEvent, LifecycleEvent],
  act: () => Promise<T>,
): Promise<T> {
  emit(lifecycleEvent(before));
  const result = await act();
  emit(lifecycleEvent(after));
  return result;
}

/** Ends the operations in the queue before one that ends the machine. QEMU is ended, too, where they take long. */
export function interruptOperations(vmm: VmmState): void {
  shortenPathDeadlines();
  vmm.queue.interrupt(() => {
    // where QEMU cannot be ended, the operation that ends the machine reports it
    vmm.vm?.live?.machine.qemu.quit().catch(() => undefined);
  });
}
