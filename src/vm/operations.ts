import { ApiError } from '../api/errors.ts';
import { checkPhase, checkPhaseOfLive } from '../api/handlers.ts';
import type { RouteName } from '../api/routes.ts';
import type { ClientOperation } from '../api/route.ts';
import { closeAll } from '../native/descriptor-passing.ts';
import { UNTRACKED, type RunningOperation } from '../util/operation-tracker.ts';
import type { ShutdownSignals } from '../util/shutdown-signals.ts';
import { createLog } from '../util/log.ts';
import { shortenPathDeadlines } from '../util/path-deadline.ts';
import { lifecycleEvent, type LifecycleEvent } from './events.ts';
import { asFailedOperation } from './guest-exit/qemu-exit.ts';
import { releaseEjected } from './hotplug/ejected.ts';
import { dialectOfVm, type Vm } from './vm.ts';
import type { VmmState } from './vmm-state.ts';

const log = createLog('vm');

/** Parts of a request that its operation needs. */
export interface OperationRequest {
  /** received with the request; those that no device uses are closed after the operation */
  readonly fds?: readonly number[];
  /** undefined if the client waits for the answer */
  readonly client?: ClientOperation | undefined;
  /** the request has `live`: see `RouteDefinition` */
  readonly live?: boolean;
}

/**
 * Queues an operation. It runs after those queued before. Rejects with ApiError if it was cancelled, or the VMM was shut down by
 * then.
 */
export async function runOperation<T>(
  vmm: VmmState,
  operation: (running: RunningOperation) => Promise<T>,
  { fds = [], client }: OperationRequest = {},
): Promise<T> {
  let isBegun = false;
  try {
    return await vmm.queue.run(async (signals) => {
      client?.begin();
      if (vmm.hasEnded) throw new ApiError('failed', 'The VMM was shut down');
      isBegun = true;
      vmm.received.add(fds);
      return asFailedOperation(() => operation(runningOperation(signals, client)));
    });
  } finally {
    if (!isBegun) closeAll(fds);
  }
}

/** Returns the signals of an operation; its client's signal aborts it like a shutdown of the VM, and at once. */
function runningOperation(signals: ShutdownSignals, client: ClientOperation | undefined): RunningOperation {
  if (client === undefined) return { ...signals, tracker: UNTRACKED };
  const { signal } = client;
  return {
    waits: AbortSignal.any([signals.waits, signal]),
    kill: AbortSignal.any([signals.kill, signal]),
    tracker: client,
  };
}

/** Queues an operation of a route on the VM. Rejects with ApiError if the route is not legal in the VM's state when the operation starts. */
export function runOnVm<T>(
  vmm: VmmState,
  route: RouteName,
  act: (vm: Vm, running: RunningOperation) => Promise<T>,
  request?: OperationRequest,
): Promise<T> {
  return runOperation(
    vmm,
    async (running) => {
      log.info(route);
      if (vmm.vm?.booted !== undefined) await releaseEjected(vmm.vm.booted.machine);
      return act(vmFor(vmm, route, request?.live), running);
    },
    request,
  );
}

/**
 * Returns the VM for a route.
 * @throws ApiError if there is none, or the route is not legal in its state
 */
export function vmFor({ vm }: VmmState, route: RouteName, live = false): Vm {
  if (live) checkPhaseOfLive(route, vm?.state ?? 'none');
  else checkRoute(route, vm);
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
