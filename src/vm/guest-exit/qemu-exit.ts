import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '../../api/errors.ts';
import type { Qemu } from '../../qemu/process/qemu.ts';
import { QmpError } from '../../qemu/qmp/qmp-error.ts';
import { reasonOf } from '../../util/errno.ts';
import { hiddenCause } from '../../util/hidden-cause.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('vm');

/** How long a QEMU that no longer answers may take to be gone before the failure is told without it, in milliseconds. */
const GONE_MS = 5000;

/** How long QEMU may take to answer, in milliseconds. */
const ANSWER_MS = 1000;

/**
 * Does something with a machine. Where QEMU ends in the middle, that is the reason it rejects with: what fails because of
 * it (a command without an answer, memory that cannot be read) says nothing to anybody.
 */
export async function withExitReason<T>(qemu: Qemu, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const end = await crashOf(qemu);
    if (end === undefined) throw error;
    log.debug(`QEMU ended meanwhile: ${reasonOf(error)}`);
    throw new ApiError('failed', `QEMU ended unexpectedly (${end})`, hiddenCause(error));
  }
}

/** Does something with QEMU. A command that it refused, or did not answer, is a failed operation and no fault of this program. */
export async function asFailedOperation<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw error instanceof QmpError ? new ApiError('failed', error.message, { cause: error }) : error;
  }
}

/** How QEMU ended, where it did. One that does not answer has not ended. */
async function crashOf({ qmp, ended }: Qemu): Promise<string | undefined> {
  const lives = await Promise.race([
    ended.then(() => false),
    qmp.execute('query-status').then(
      () => true,
      (error: unknown) => error instanceof QmpError && error.hangs,
    ),
    delay(ANSWER_MS, true, { ref: false }),
  ]);
  if (lives) return undefined;
  const end = await Promise.race([ended, delay(GONE_MS, undefined, { ref: false })]);
  return end?.reason === 'crash' ? end.detail : undefined;
}
