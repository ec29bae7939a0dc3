import { ApiError } from '../api/errors.ts';
import { deferred, type Deferred } from '../util/deferred.ts';
import { operationEvent, type OnVmEvent } from './events.ts';
import { createQueue, type Queue } from './operation-queue.ts';
import { createReceivedDescriptors, type ReceivedDescriptors } from './received-descriptors.ts';
import { createRegistry, type OperationRegistry } from './registry/registry.ts';
import type { Vm } from './vm.ts';
import type { VmmExit, VmmOptions } from './vmm-options.ts';

/** State of one VMM, which its operations share. */
export interface VmmState {
  readonly options: VmmOptions;
  /** undefined before vm.create and after vm.delete; only operations in `queue` change it */
  vm: Vm | undefined;
  readonly queue: Queue;
  /** file descriptors of clients that networks of the VM use */
  readonly received: ReceivedDescriptors;
  /** operations of clients that do not wait for the answer */
  readonly registry: OperationRegistry;
  readonly emit: OnVmEvent;
  /** compositions of snapshots, which are not in the queue: the signal aborts them when the VMM is to exit */
  readonly compositions: { readonly signal: AbortSignal; readonly running: Set<Promise<void>> };
  /** Aborts the compositions. */
  readonly endCompositions: () => void;
  /** the VMM is about to exit: no further operation runs */
  hasEnded: boolean;
  /** settles when the VMM is to exit */
  readonly exit: Deferred<VmmExit>;
}

/** Returns the state of a VMM without a VM. */
export function createVmmState(options: VmmOptions): VmmState {
  const received = createReceivedDescriptors();
  const ending = new AbortController();
  const state: VmmState = {
    options,
    vm: undefined,
    queue: createQueue(() => received.closeUnused(state.vm)),
    received,
    registry: createRegistry((operation) => options.onEvent(operationEvent(operation))),
    emit: options.onEvent,
    compositions: { signal: ending.signal, running: new Set() },
    endCompositions: () => ending.abort(new ApiError('failed', 'The VMM was shut down')),
    hasEnded: false,
    exit: deferred<VmmExit>(),
  };
  return state;
}
