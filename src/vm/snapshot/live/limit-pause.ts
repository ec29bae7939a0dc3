import { QmpError } from '../../../qemu/qmp/qmp-error.ts';
import { abortableAfter } from '../../../util/abortable.ts';
import type { Machine } from '../../machine.ts';

/** Time limit of a pause until the vCPUs can continue, in milliseconds: after it the machine continues without a snapshot. */
const LIMIT_MS = 5000;

/** A signal that ends a pause before its last step. */
export interface PauseLimit extends Disposable {
  readonly signal: AbortSignal;
}

/** Ends a pause at the time limit, and where the guest resets, powers off or panics: the VMM then acts as without a snapshot. */
export function limitPause({ qemu }: Pick<Machine, 'qemu'>, signal: AbortSignal): PauseLimit {
  const controller = new AbortController();
  const end = (reason: string): void => controller.abort(new Error(reason));
  const timer = setTimeout(() => end(`the pause took more than ${LIMIT_MS / 1000} s`), LIMIT_MS);
  const stopListening = qemu.onEvent(({ event }) => {
    if (event === 'SHUTDOWN') end('the guest has reset itself or powered off');
    if (event === 'GUEST_PANICKED') end('the guest’s kernel has panicked');
  });
  return {
    signal: AbortSignal.any([signal, controller.signal]),
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      stopListening();
    },
  };
}

/** Time for which an ended pause waits for a QEMU that does not answer, in milliseconds. */
export const ANSWER_MS = 2000;

/**
 * Starts the vCPUs again. Rejects if QEMU refuses that, and calls `onStopped`; rejects with the reason of the signal if QEMU does not
 * answer after it: QEMU executes the command later.
 */
export async function continueVcpus(
  { qemu }: Pick<Machine, 'qemu'>,
  signal: AbortSignal,
  onStopped: () => void,
): Promise<void> {
  const continued = qemu.qmp.execute('cont').catch((error: unknown) => {
    // the exit of a QEMU is reported elsewhere
    if (isRefusal(error)) onStopped();
    throw error;
  });
  await abortableAfter(signal, ANSWER_MS, continued);
}

/** Returns true if QEMU has answered that it does not carry out a command. */
export function isRefusal(error: unknown): boolean {
  return error instanceof QmpError && error.errorClass !== undefined;
}

/** Times of the steps of a pause, for the log. */
export interface Times {
  /** Ends a step. */
  (step: string): void;
  readonly text: () => string;
}

/** Starts the time of the first step. */
export function createTimes(): Times {
  const parts: string[] = [];
  let last = performance.now();
  const end = (step: string): void => {
    const now = performance.now();
    parts.push(`${step} ${(now - last).toFixed(1)} ms`);
    last = now;
  };
  return Object.assign(end, { text: () => parts.join(', ') });
}
