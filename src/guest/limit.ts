import { setMaxListeners } from 'node:events';
import { GuestError } from './errors.ts';

/** A caller's signal and time limit as one signal. */
export interface Limit extends Disposable {
  /** Aborts with a GuestError as its reason */
  readonly signal: AbortSignal;
  /** @throws the GuestError if the limit is reached */
  readonly check: () => void;
}

/** Starts a limit. `what` names the limited work in messages. The owner disposes it. */
export function startLimit(
  what: string,
  { signal, timeoutMs }: { readonly signal?: AbortSignal; readonly timeoutMs?: number },
): Limit {
  const controller = new AbortController();
  // each pending request of a transfer has a listener
  setMaxListeners(0, controller.signal);
  const fail = (fault: 'timeout' | 'aborted', message: string, cause?: unknown): void =>
    controller.abort(new GuestError(fault, message, { cause }));
  const abort = (): void => fail('aborted', `${what}: aborted`, signal?.reason);
  const expire = (): void => fail('timeout', `${what}: not finished within ${timeoutMs} ms`);
  const timer = timeoutMs === undefined ? undefined : setTimeout(expire, Math.min(timeoutMs, 2 ** 31 - 1));
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted === true) abort();
  return {
    signal: controller.signal,
    check: () => controller.signal.throwIfAborted(),
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    },
  };
}
