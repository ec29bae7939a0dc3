import { ApiError } from '../../api/errors.ts';
import type { VmSnapshotConfig } from '../../api/requests.ts';
import type { ClientOperation } from '../../api/route.ts';
import { composeInPlace } from '../../snapshot-files/compose-in-place.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { UNTRACKED } from '../../util/operation-tracker.ts';
import { logProgress, shownAmount } from '../progress.ts';
import { pathOf } from './url-path.ts';

const log = createLog('snapshot');

/** The part of the VMM's state that compositions need. */
interface Compositions {
  /** those that run; aborted when the VMM is to exit */
  readonly compositions: { readonly signal: AbortSignal; readonly running: Set<Promise<void>> };
}

/**
 * Replaces a differential snapshot, which is complete, by a full one with the same contents. It is no operation of the queue: the VM may be
 * resumed or shut down meanwhile. Rejects with ApiError if it is cancelled or fails: the differential snapshot stays.
 */
export async function composeAfter(
  { compositions: { signal: ending, running } }: Compositions,
  { destination_url: url, durable }: Pick<VmSnapshotConfig, 'destination_url' | 'durable'>,
  client: ClientOperation | undefined,
): Promise<void> {
  const path = pathOf(url, 'directory');
  const signal = client === undefined ? ending : AbortSignal.any([ending, client.signal]);
  const tracker = client ?? UNTRACKED;
  const amount = { done: 0, total: 0 };
  const begun = performance.now();
  tracker.enter('composing a full snapshot', amount);
  using _progress = logProgress(log, () => `${path}: ${shownAmount(amount)} of a full snapshot is composed`);
  const commit = (): void => tracker.commit('The snapshot is complete');
  const composing = composeInPlace(path, { durable, amount, signal, commit });
  running.add(composing);
  try {
    await composing;
    log.info(`${path}: a full snapshot was composed in ${Math.round(performance.now() - begun)} ms`);
  } catch (error) {
    const cause = new Error(reasonOf(error), { cause: error });
    const message = `${path}: the differential snapshot is complete, and could not be composed`;
    throw new ApiError('failed', message, { cause });
  } finally {
    running.delete(composing);
  }
}
