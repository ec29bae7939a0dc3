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

/** Queues an operation. It runs after those queued before. Rejects with ApiError if the VMM was shut down by then. */
export function runOperation<T>(vmm: VmmState, operation: Operation<T>): Promise<T> {
  return vmm.queue.run((signals) => {
    if (vmm.hasEnded) throw new ApiError('failed', 'The VMM was shut down');
    return asFailedOperation(() => operation(signals));
  });
}

/**
 * Queues an operation of a route on the VM. Rejects with ApiError if the route is not legal in the VM's state when the operation starts.
 * `fds` were received with the request; those that no device uses are closed after the operation.
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
    if (vmm.vm?.booted !== undefined) await releaseEjected(vmm.vm.booted.machine);
    return act(vmFor(vmm, route), signals);
  });
}

/**
 * Returns the VM for a route.
 * @throws ApiError if there is none, or the route is not legal in its state
 */
export function vmFor({ vm }: VmmState, route: RouteName): Vm {
  checkRoute(route, vm);
  // unreachable: no route of these operations is legal without a VM
  if (vm === undefined) throw new ApiError('no-vm', 'The VM is not created');
  return vm;
}

/** Checks a route that makes a VM. @throws ApiError if there is a VM already */
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

/** Emits the first event, runs `act`, and emits the second event if `act` succeeds. */
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

/** Aborts the queued operations, before one that stops the machine. Stops QEMU too if they do not finish in time. */
export function interruptOperations(vmm: VmmState): void {
  shortenPathDeadlines();
  vmm.queue.interrupt(() => {
    // the operation that stops the machine reports a QEMU that cannot be killed
    vmm.vm?.booted?.machine.qemu.quit().catch(() => undefined);
  });
}
