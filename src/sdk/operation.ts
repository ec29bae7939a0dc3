import { setTimeout as delay } from 'node:timers/promises';
import * as v from 'valibot';
import { OperationInfo, type OperationProgress } from '../api/operations.ts';
import { CancelledError, operationError, RequestError, requestError } from './errors.ts';
import { sendRequest, TransportError, type ApiRequest, type ApiResponse } from './transport.ts';

/*
 * Requests that the VMM serves asynchronously (`Prefer: respond-async`), so that they can be observed and cancelled. A VMM without
 * this feature answers when the request is complete; it cannot be cancelled then.
 */

/** Shortest and longest interval of questions for the progress, in milliseconds. Between, it is a part of the time since the request. */
const POLL_MS = { least: 5, most: 200 };
const POLL_PART = 1 / 5;

/** Time for which an aborted request waits for its first answer, in milliseconds: a VMM with operations answers at once. */
const ACCEPT_MS = 2000;

/** Time for which an operation that cannot be cancelled any more is waited for, in milliseconds: most are nearly complete. */
const COMPLETE_MS = 5000;

/** Observation of a request. */
export interface OperationOptions {
  /** Called when the progress has changed. Cloud Hypervisor and older versions of Nephos report none */
  readonly onProgress?: ((progress: OperationProgress) => void) | undefined;
  /** Called when the VMM has queued the request: it serves requests that are sent from then on after it. Not by VMMs without operations */
  readonly onAccepted?: (() => void) | undefined;
  /** Cancels the request; the call settles when the VM is as before, or the request was complete */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Sends a request that can be observed and cancelled. Resolves with the body of the answer.
 * @throws {CancelledError} if it was cancelled
 * @throws {RequestError} 409 if it cannot be cancelled any more, and is not complete within 5 s: it continues
 * @throws {RequestError} as the synchronous request
 * @throws `TransportError` if the VMM does not answer, and after an abort if it has no operations
 */
export async function observeRequest(
  endpoint: string,
  request: ApiRequest,
  { onProgress, onAccepted, signal }: OperationOptions,
): Promise<string | undefined> {
  signal?.throwIfAborted();
  const { timeoutMs } = request;
  const wait = timeoutMs === undefined ? '' : `, wait=${Math.ceil(timeoutMs / 1000)}`;
  const answer = await firstAnswer({ ...request, prefer: `respond-async${wait}` }, signal);
  if (answer.status >= 300) throw requestError(endpoint, answer.status, answer.body);
  if (answer.status !== 202 || answer.location === undefined) return answer.body;
  onAccepted?.();
  const operation = { socketPath: request.socketPath, path: answer.location };
  const info = await untilEnded(infoOf(answer), operation, { onProgress, signal });
  if (info.state === 'succeeded') return info.result === undefined ? undefined : JSON.stringify(info.result);
  if (info.state === 'cancelled') throw new CancelledError(endpoint, signal?.reason);
  throw operationError(endpoint, info);
}

type Location = Pick<ApiRequest, 'socketPath' | 'path'>;

/** Waits for the answer to the request itself. After an abort a VMM without operations is not waited for. */
async function firstAnswer(request: ApiRequest, signal: AbortSignal | undefined): Promise<ApiResponse> {
  const limit = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => limit.abort(), ACCEPT_MS);
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await sendRequest({ ...request, signal: limit.signal });
  } catch (error) {
    if (!limit.signal.aborted) throw error;
    const cause = new Error('this VMM cannot cancel a request: it continues', { cause: error });
    throw new TransportError('aborted', request, cause);
  } finally {
    signal?.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  }
}

async function untilEnded(
  first: OperationInfo,
  operation: Location,
  { onProgress, signal }: OperationOptions,
): Promise<OperationInfo> {
  const report = createReport(onProgress);
  let info = first;
  const start = performance.now();
  while (info.finished === undefined) {
    report(info);
    if (signal?.aborted === true) return cancel(info.kind, operation);
    const elapsed = performance.now() - start;
    const wait = Math.min(Math.max(POLL_MS.least, elapsed * POLL_PART), POLL_MS.most);
    // an abort ends the pause
    await delay(wait, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
    info = infoOf(await sendRequest({ ...operation, method: 'GET' }));
  }
  report(info);
  return info;
}

/** Returns a function that reports the progress of an operation when it has changed. */
function createReport(onProgress: OperationOptions['onProgress']): (info: OperationInfo) => void {
  let reported = '';
  return ({ progress }) => {
    const text = JSON.stringify(progress);
    if (progress !== undefined && text !== reported) onProgress?.(progress);
    reported = text;
  };
}

/** Cancels an operation. One that cannot be cancelled any more is waited for, because most are nearly complete. */
async function cancel(endpoint: string, operation: Location): Promise<OperationInfo> {
  const answer = await sendRequest({ ...operation, method: 'DELETE' });
  if (answer.status !== 409) return infoOf(answer);
  const end = performance.now() + COMPLETE_MS;
  while (performance.now() < end) {
    const info = infoOf(await sendRequest({ ...operation, method: 'GET' }));
    if (info.finished !== undefined) return info;
    await delay(POLL_MS.most);
  }
  throw new RequestError(endpoint, answer.status, requestError(endpoint, answer.status, answer.body).reasons);
}

function infoOf({ status, body = '' }: ApiResponse): OperationInfo {
  if (status >= 300) throw requestError('vmm.operation', status, body);
  return v.parse(OperationInfo.schema, JSON.parse(body));
}
