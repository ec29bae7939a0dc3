import { clip, preview } from '../util/clip.ts';
import { reasonOf } from '../util/errno.ts';
import { HiddenCause } from '../util/hidden-cause.ts';

/**
 * Reason for the failure of a request. Only `http/reply.ts` maps it to a status code.
 *
 * - `bad-request`: malformed JSON, a wrong type, a missing field or body
 * - `invalid-config`: well-formed, but breaks a rule of the configuration
 * - `no-vm`: there is no VM (or, for vm.restore, there is one)
 * - `unknown-device`: no device has the id
 * - `duplicate-id`: the id is taken
 * - `wrong-state`: not allowed in the current state of the VM
 * - `unknown-operation`: no operation has the id
 * - `not-cancellable`: the operation cannot be cancelled any more
 * - `busy`: the guest has to complete an earlier request first; the client may try again
 * - `not-supported`: the endpoint exists, but is not supported
 * - `failed`: QEMU or the host failed
 */
export type ApiErrorCode = (typeof ERROR_CODES)[number];

export const ERROR_CODES = [
  'bad-request',
  'invalid-config',
  'no-vm',
  'unknown-device',
  'duplicate-id',
  'wrong-state',
  'unknown-operation',
  'not-cancellable',
  'busy',
  'not-supported',
  'failed',
] as const;

/** A failed request. The message names the failed step; the cause has the reason. */
export class ApiError extends Error {
  readonly code: ApiErrorCode;

  constructor(code: ApiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ApiError';
    this.code = code;
  }
}

/** Maximum number of messages after the first one, which names the endpoint. */
export const CAUSES_MAX = 16;

/**
 * Returns the messages of an error and its causes, outermost first: the body of an error answer. It ends at a message that
 * contains the reason of its cause, and before a hidden cause: the causes below are for logs and debuggers.
 */
export function errorChain(error: unknown): string[] {
  const messages: string[] = [];
  let at = error;
  let above: string | undefined;
  while (at instanceof Error && !(at instanceof HiddenCause) && messages.length < CAUSES_MAX) {
    const { message, cause } = at;
    const reason = reasonOf(at);
    if (reason !== '' && above?.includes(reason) === true) return messages;
    if (above === undefined || message !== '') messages.push(clip(message));
    if (message !== '') above = message;
    at = cause;
  }
  if (at !== undefined && !(at instanceof Error)) messages.push(preview(at));
  return messages;
}
