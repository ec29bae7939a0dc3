/** A request that the VMM refused or could not do. Its subclasses tell why; `instanceof` tells them apart. */
export class RequestError extends Error {
  /** HTTP status of the answer. */
  readonly status: number;
  /** The endpoint, e.g. `vm.boot`. */
  readonly endpoint: string;
  /** What the VMM said, outermost first. */
  readonly reasons: readonly string[];

  constructor(endpoint: string, status: number, reasons: readonly string[]) {
    super(reasons.length > 0 ? reasons.join(': ') : `${endpoint} was answered ${status}`);
    this.name = new.target.name;
    this.endpoint = endpoint;
    this.status = status;
    this.reasons = reasons;
  }
}

/** 400: the request or the configuration in it is not valid. */
export class InvalidRequestError extends RequestError {}
/** 404: there is no VM yet, or no such device. */
export class NotFoundError extends RequestError {}
/** 405: the VM cannot do this in the state it is in. */
export class WrongStateError extends RequestError {}
/** 409: the id is taken. */
export class DuplicateIdError extends RequestError {}
/** 429: to be tried again when what is under way is done. */
export class BusyError extends RequestError {}
/** 501: the VMM does not have it. */
export class NotSupportedError extends RequestError {}

/** A VMM that could not be started, or that ended before it answered; the message holds its last words. */
export class LaunchError extends Error {
  override readonly name = 'LaunchError';
}

/** A text that the console did not show: the time limit passed, the console closed, or the caller's signal fired. */
export class ConsoleError extends Error {
  override readonly name = 'ConsoleError';
  readonly fault: 'timeout' | 'closed' | 'aborted';
  /** What the console showed instead since the last match. */
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

/** The error that an answer stands for; `body` is a JSON array of texts, or any text from an older VMM. */
export function requestError(endpoint: string, status: number, body: string | undefined): RequestError {
  const ErrorClass = CLASSES.get(status) ?? RequestError;
  return new ErrorClass(endpoint, status, reasonsOf(body ?? ''));
}

function reasonsOf(body: string): readonly string[] {
  try {
    const json: unknown = JSON.parse(body);
    return Array.isArray(json) ? json.map(String) : [body];
  } catch {
    return body === '' ? [] : [body];
  }
}
