import { deferred, type Deferred } from '../util/deferred.ts';
import type { OnVmEvent } from './events.ts';
import { createQueue, type Queue } from './operation-queue.ts';
import { createReceivedDescriptors, type ReceivedDescriptors } from './received-descriptors.ts';
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
  readonly emit: OnVmEvent;
  /** the VMM is about to exit: no further operation runs */
  hasEnded: boolean;
  /** settles when the VMM is to exit */
  readonly exit: Deferred<VmmExit>;
}

/** Returns the state of a VMM without a VM. */
export function createVmmState(options: VmmOptions): VmmState {
  const received = createReceivedDescriptors();
  const state: VmmState = {
    options,
    vm: undefined,
    queue: createQueue(() => received.closeUnused(state.vm)),
    received,
    emit: options.onEvent,
    hasEnded: false,
    exit: deferred<VmmExit>(),
  };
  return state;
}
