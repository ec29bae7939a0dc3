import { hasUnfinishedCalls } from '../../../native/thread-calls.ts';
import { abortable } from '../../../util/abortable.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import type { Machine } from '../../machine.ts';
import { ownBlocks } from '../capture-machine.ts';
import { prepareFreeze, type Freezer } from './freeze-memory.ts';

const log = createLog('snapshot');

/** A freezer of a machine's RAM, or the reason why there is none. */
export type Freezing =
  | { readonly freezer: Freezer }
  | { readonly freezer: undefined; readonly reason: string };

/** Prepares a freeze of a running machine's RAM in place. Rejects when the signal aborts, and if QEMU has exited. */
export async function findFreezer(machine: Machine, signal: AbortSignal): Promise<Freezing> {
  const blocks = await abortable(signal, ownBlocks(machine));
  const planned = blocks.filter((block) => block.planned);
  try {
    return { freezer: await prepareFreeze(machine, planned, signal) };
  } catch (error) {
    signal.throwIfAborted();
    const reason = `the RAM cannot be frozen in QEMU: ${reasonOf(error)}`;
    log.info(reason);
    return { freezer: undefined, reason };
  }
}

/** Returns the reason why only QEMU itself has a machine's RAM at a known place; undefined if others can map it. */
export function reasonOfCalls({ qemu }: Pick<Machine, 'qemu'>): string | undefined {
  return hasUnfinishedCalls(qemu.pid) ? 'a former freeze of the RAM has not ended' : undefined;
}
