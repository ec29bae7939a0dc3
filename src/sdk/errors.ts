import type { ApiErrorCode } from '../api/errors.ts';
import type { OperationInfo } from '../api/operations.ts';

/** A request that the VMM rejected or could not complete. There is a subclass for each status, for `instanceof`. */
export class RequestError extends Error {
  /** HTTP status of the answer */
  readonly status: number;
  /** Endpoint, e.g. `vm.boot` */
  readonly endpoint: string;
  /** Messages of the VMM, outermost first */
  readonly reasons: readonly string[];

  constructor(endpoint: string, status: number, reasons: readonly string[]) {
    super(reasons.length > 0 ? reasons.join(': ') : `${endpoint} was answered ${status}`);
    this.name = new.target.name;
    this.endpoint = endpoint;
    this.status = status;
    this.reasons = reasons;
  }
}

/** 400: the request or its configuration is invalid. */
export class InvalidRequestError extends RequestError {}
/** 404: there is no VM, or no such device. */
export class NotFoundError extends RequestError {}
/** 405: not allowed in the current state of the VM. */
export class WrongStateError extends RequestError {}
/** 409: the id is taken. */
export class DuplicateIdError extends RequestError {}
/** 429: the guest is busy with an earlier change; try again later. */
export class BusyError extends RequestError {}
/** 501: the VMM does not support the endpoint. */
export class NotSupportedError extends RequestError {}

/** A request that was cancelled by the caller's signal; the VM is as before. The cause is the reason of the signal. */
export class CancelledError extends Error {
  override readonly name = 'CancelledError';
  /** Endpoint, e.g. `vm.snapshot` */
  readonly endpoint: string;

  constructor(endpoint: string, cause: unknown) {
    super(`${endpoint} was cancelled`, { cause });
    this.endpoint = endpoint;
  }
}

/** A VMM that could not start, or exited before it answered. The message has its last output. */
export class LaunchError extends Error {
  override readonly name = 'LaunchError';
}

/** A VM that cannot be forked, or whose disks cannot be copied. The message names the device. */
export class ForkError extends Error {
  override readonly name = 'ForkError';
}

/** A connection to a port of the guest that failed: no program listens on it, or the caller's limit. */
export class VsockError extends Error {
  override readonly name = 'VsockError';
  readonly fault: 'refused' | 'timeout' | 'aborted';

  constructor(fault: VsockError['fault'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/** A wait for console output that failed: by timeout, a closed console, or the caller's signal. */
export class ConsoleError extends Error {
  override readonly name = 'ConsoleError';
  readonly fault: 'timeout' | 'closed' | 'aborted';
  /** Output since the last match */
  readonly shown: string;

  constructor(fault: ConsoleError['fault'], pattern: string | RegExp, shown: string) {
    super(
      `the console did not show ${String(pattern)} (${fault}); it ended with ${JSON.stringify(shown.slice(-200))}`,
    );
    this.fault = fault;
    this.shown = shown;
  }
}

const CLASSES = new Map<number, typeof RequestError>([
  [400, InvalidRequestError],
  [404, NotFoundError],
  [405, WrongStateError],
  [409, DuplicateIdError],
  [429, BusyError],
  [501, NotSupportedError],
]);

/** Returns the error for an answer. `body` is a JSON array of texts, or any text of an older VMM. */
export function requestError(endpoint: string, status: number, body: string | undefined): RequestError {
  const ErrorClass = CLASSES.get(status) ?? RequestError;
  return new ErrorClass(endpoint, status, reasonsOf(body ?? ''));
}

/** Status of the synchronous answer for the kind of an operation's error. */
const STATUSES: Readonly<Partial<Record<ApiErrorCode, number>>> = {
  'bad-request': 400,
  'invalid-config': 400,
  'no-vm': 404,
  'unknown-device': 404,
  'wrong-state': 405,
  'duplicate-id': 409,
  busy: 429,
  'not-supported': 501,
};

/** Returns the error of a failed operation: that of the synchronous request. */
export function operationError(
  endpoint: string,
  { error = [], code = 'failed' }: Pick<OperationInfo, 'error' | 'code'>,
): RequestError {
  const status = STATUSES[code] ?? 500;
  const ErrorClass = CLASSES.get(status) ?? RequestError;
  return new ErrorClass(endpoint, status, error);
}

function reasonsOf(body: string): readonly string[] {
  try {
    const json: unknown = JSON.parse(body);
    return Array.isArray(json) ? json.map(String) : [body];
  } catch {
    return body === '' ? [] : [body];
  }
}
