import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '../../api/errors.ts';
import type { Qemu } from '../../qemu/process/qemu.ts';
import { QmpError } from '../../qemu/qmp/qmp-error.ts';
import { reasonOf } from '../../util/errno.ts';
import { hiddenCause } from '../../util/hidden-cause.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('vm');

/** Time limit for the exit of a QEMU that no longer answers, in milliseconds. After it the first failure is reported. */
const EXIT_MS = 5000;

/** Time limit for QEMU's answer, in milliseconds. */
const ANSWER_MS = 1000;

/** The part of a QEMU that tells whether it still runs. */
type ObservedQemu = Pick<Qemu, 'qmp' | 'ended'>;

/**
 * Runs `act` on a machine. If QEMU exits meanwhile, it rejects with the reason of the exit: failures that follow from the exit, e.g.
 * memory that cannot be read, do not help a user. `subject` is what QEMU worked on, e.g. the directory of a snapshot; the error names it.
 * `qemu` may be a function that returns the QEMU of the machine, where `act` may replace it.
 */
export async function withExitReason<T>(
  qemu: ObservedQemu | (() => ObservedQemu),
  act: () => Promise<T>,
  subject?: string,
): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const end = await reasonOfExit(typeof qemu === 'function' ? qemu() : qemu);
    if (end === undefined) throw error;
    log.debug(`QEMU ended meanwhile: ${reasonOf(error)}`);
    const named = subject === undefined ? '' : `${subject}: `;
    throw new ApiError('failed', `${named}${end}`, hiddenCause(error));
  }
}

/** Runs `act` on QEMU. Reports a command that QEMU refuses or does not answer as a failed operation, not as a fault of this program. */
export async function asFailedOperation<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw error instanceof QmpError ? new ApiError('failed', error.message, { cause: error }) : error;
  }
}

/** Returns the reason of QEMU's exit; undefined if the VMM has ended it, or it still runs, even if it does not answer. */
async function reasonOfExit({ qmp, ended }: ObservedQemu): Promise<string | undefined> {
  const runs = await Promise.race([
    ended.then(() => false),
    qmp.execute('query-status').then(
      () => true,
      (error: unknown) => error instanceof QmpError && error.hangs,
    ),
    delay(ANSWER_MS, true, { ref: false }),
  ]);
  if (runs) return undefined;
  const end = await Promise.race([ended, delay(EXIT_MS, undefined, { ref: false })]);
  switch (end?.reason) {
    case 'crash':
      return `QEMU ended unexpectedly (${end.detail})`;
    case 'reset':
      return 'The guest has reset itself';
    case 'power-off':
      return 'The guest has powered itself off';
    default:
      return undefined;
  }
}
