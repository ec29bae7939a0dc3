/** Two stages of the shutdown of a running operation. */
export interface ShutdownSignals {
  /** aborted at once: cancels waits for resources of the host, e.g. a back-end's socket */
  readonly waits: AbortSignal;
  /** aborted where the operation has not ended soon after that: its process is killed */
  readonly kill: AbortSignal;
}

/** Calls `act` when a signal is aborted, or at once where it is aborted already. @returns removes the handler */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  if (signal.aborted) {
    act();
    return () => undefined;
  }
  signal.addEventListener('abort', act, { once: true });
  return () => signal.removeEventListener('abort', act);
}
