import { createIdleMemory } from '../native/idle-memory.ts';
import { keepSpareThread } from '../util/spare-thread.ts';
import type { VmEvent } from '../vm/events.ts';
import type { DaemonOptions } from './daemon-options.ts';

/** Memory and a thread of the VMM, which depend on whether it has a VM. */
export interface IdleResources extends Disposable {
  readonly onEvent: (event: VmEvent) => void;
}

/** Events after which much memory of the VMM is free. */
const LEAVES_GARBAGE: ReadonlySet<VmEvent['event']> = new Set([
  'booted',
  'restored',
  'snapshotted',
  'deleted',
]);

/** Events after which a machine has its threads. */
const STARTS: ReadonlySet<VmEvent['event']> = new Set(['booted', 'restored']);

/** Creates the resources of a VMM, which follow its events from `starting` on. */
export function createIdleResources({
  spareThread,
  vm,
  restore,
}: Pick<DaemonOptions, 'spareThread' | 'vm' | 'restore'>): IdleResources {
  const memory = createIdleMemory();
  const thread = spareThread ? keepSpareThread() : undefined;
  const startsVm = vm !== undefined || restore !== undefined;
  return {
    onEvent: ({ event }) => {
      if (LEAVES_GARBAGE.has(event)) memory.noteWork();
      if (STARTS.has(event)) thread?.onVm(true);
      if (event === 'deleted' || (event === 'starting' && !startsVm)) thread?.onVm(false);
    },
    [Symbol.dispose]: () => {
      memory[Symbol.dispose]();
      thread?.[Symbol.dispose]();
    },
  };
}
