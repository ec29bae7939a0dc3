import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, type CallOptions } from './client.ts';
import { TransportError } from './transport.ts';
import { isShutDown, withCause, type VmEnd } from './vm-end.ts';
import type { VmmProcess } from './vmm-process.ts';

/** Interval of the checks whether a VM of another process has ended, in milliseconds: its VMM sends this process no events. */
const CHECK_MS = 250;

/** Time limit of a check, in milliseconds. */
const ANSWER_MS = 5000;

/** A VMM that another process owns. Its disposal does not end it. */
export interface AttachedVmm extends VmmProcess {
  /** Aborts when it has been disposed of */
  readonly detached: AbortSignal;
}

/** Attaches to a running VMM. @throws TransportError if none answers */
export async function attachVmm(socketPath: string, call: CallOptions): Promise<AttachedVmm> {
  const client = new Client(socketPath);
  const { pid } = await client.call('vmm.ping', undefined, call);
  const detachment = new AbortController();
  return {
    pid,
    client,
    events: Readable.from([]),
    ended: new Promise(() => undefined),
    isDisposed: () => detachment.signal.aborted,
    detached: detachment.signal,
    [Symbol.asyncDispose]: () => Promise.resolve(detachment.abort()),
  };
}

/** Settles when a VM or its VMM has ended. Never rejects; after a disposal it never settles. */
export async function watchEnd(client: Client, detached: AbortSignal): Promise<VmEnd> {
  for (;;) {
    await delay(CHECK_MS, undefined, { signal: detached }).catch(() => undefined);
    if (detached.aborted) await new Promise(() => undefined);
    if (!(await answers(client))) return withCause({ code: null, signal: null, reason: 'exit' }, 'gone');
    if (await isShutDown(client)) return withCause({ code: 0, signal: null, reason: 'shutdown' }, 'shutdown');
  }
}

/** Returns false if no process listens at the socket. A VMM that is slow still runs. */
async function answers(client: Client): Promise<boolean> {
  try {
    await client.call('vmm.ping', undefined, { timeoutMs: ANSWER_MS });
    return true;
  } catch (error) {
    return !(error instanceof TransportError && (error.fault === 'connect' || error.fault === 'io'));
  }
}
