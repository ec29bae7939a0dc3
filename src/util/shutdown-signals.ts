/** Tells an operation that the VM is to be shut down. */
export interface ShutdownSignals {
  /** aborted at once: ends waits for something of the host, e.g. a back-end's socket */
  readonly waits: AbortSignal;
  /** aborted where the operation has not ended soon after that: QEMU is killed */
  readonly kill: AbortSignal;
}

/** Calls `act` when a signal is aborted, or at once where it is, until the returned function is called. */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  if (signal.aborted) {
    act();
    return () => undefined;
  }
  signal.addEventListener('abort', act, { once: true });
  return () => signal.removeEventListener('abort', act);
}
