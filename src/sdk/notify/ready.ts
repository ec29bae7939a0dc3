import type { CallOptions } from '../client.ts';
import type { NotifyListener } from './listener.ts';

/** A wait for a guest's readiness that failed. The message has the guest's last report. */
export class ReadyError extends Error {
  override readonly name = 'ReadyError';
  /** `timeout`: the time limit expired; `aborted`: the caller's signal fired; `ended`: the VM ended first */
  readonly fault: 'timeout' | 'aborted' | 'ended';

  constructor(fault: ReadyError['fault'], status: string | undefined, options?: ErrorOptions) {
    const report = status === undefined ? 'it has reported nothing' : `its last report is "${status}"`;
    super(`the guest is not ready (${fault}): ${report}`, options);
    this.fault = fault;
  }
}

/** Waits until a guest has booted. `ended` settles when its VM ends. @throws ReadyError */
export async function waitForReady(
  { ready, status }: Pick<NotifyListener, 'ready' | 'status'>,
  ended: Promise<unknown>,
  { signal, timeoutMs }: CallOptions = {},
): Promise<void> {
  const release: (() => void)[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      const fail =
        (fault: ReadyError['fault']) =>
        (cause?: unknown): void =>
          reject(new ReadyError(fault, status(), { cause }));
      ready.then(() => resolve(), reject);
      ended.then(fail('ended'), reject);
      if (timeoutMs !== undefined) {
        // a pending wait keeps the process running
        const timer = setTimeout(fail('timeout'), timeoutMs);
        release.push(() => clearTimeout(timer));
      }
      if (signal === undefined) return;
      const abort = (): void => fail('aborted')(signal.reason);
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort);
      release.push(() => signal.removeEventListener('abort', abort));
    });
  } finally {
    for (const one of release) one();
  }
}
