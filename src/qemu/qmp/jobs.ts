import { deferred } from '../../util/deferred.ts';
import { inBackground } from '../../util/background.ts';
import { onAbort } from '../../util/shutdown-signals.ts';
import { QemuError } from '../process/qemu-error.ts';
import type { Qemu } from '../process/qemu.ts';

/** The part of a QEMU that jobs need. */
export type JobQemu = Pick<Qemu, 'onEvent' | 'ended'> & { readonly qmp: Pick<Qemu['qmp'], 'execute'> };

/** A job of QEMU's block layer. */
export interface Job {
  readonly id: string;
  /** starts the job, which must not be dismissed automatically */
  readonly start: () => Promise<void>;
  /** cancels the job */
  readonly signal: AbortSignal;
}

/**
 * Runs a job (docs/interop/qmp: jobs) and settles when it has ended and QEMU has no record of it. Rejects with QEMU's reason of a failure, with
 * that of the signal, or with QemuError if QEMU exits.
 */
export async function runJob({ qmp, onEvent, ended }: JobQemu, { id, start, signal }: Job): Promise<void> {
  signal.throwIfAborted();
  const concluded = deferred<void>();
  const stopListening = onEvent((message) => {
    if (message.event !== 'JOB_STATUS_CHANGE' || message.data.id !== id) return;
    if (message.data.status === 'concluded') concluded.resolve();
  });
  inBackground(
    'exit of QEMU',
    ended.then(() => concluded.reject(new QemuError('QEMU has ended'))),
  );
  // a job that has concluded meanwhile cannot be cancelled
  const cancel = (): void => void qmp.execute('job-cancel', { id }).catch(() => undefined);
  let stopWaiting = (): void => undefined;
  try {
    await start();
    stopWaiting = onAbort(signal, cancel);
    await concluded.promise;
    const job = (await qmp.execute('query-jobs')).find((one) => one.id === id);
    await qmp.execute('job-dismiss', { id });
    signal.throwIfAborted();
    if (job?.error !== undefined) throw new QemuError(job.error);
  } finally {
    stopListening();
    stopWaiting();
    // unless it was awaited
    concluded.promise.catch(() => undefined);
  }
}
