import { clip, preview } from '../util/clip.ts';
import { reasonOf } from '../util/errno.ts';

/**
 * Why a request failed. The status code that belongs to each is known by `http/reply.ts` alone.
 *
 * - `bad-request`: malformed JSON, a wrong type, a missing field or body
 * - `invalid-config`: well-formed, but against a rule of the configuration model
 * - `no-vm`: nothing was created yet (or, for vm.restore, something was)
 * - `unknown-device`: no device has the id
 * - `duplicate-id`: the id is taken
 * - `wrong-state`: the VM exists but cannot do this now
 * - `busy`: the VM can do it, but not before something else is done: to be tried again
 * - `not-supported`: the endpoint exists, its capability does not yet
 * - `failed`: the engine or the host could not do it
 */
export type ApiErrorCode =
  | 'bad-request'
  | 'invalid-config'
  | 'no-vm'
  | 'unknown-device'
  | 'duplicate-id'
  | 'wrong-state'
  | 'busy'
  | 'not-supported'
  | 'failed';

/** A request that could not be served. The message says what could not be done; the cause says why. */
export class ApiError extends Error {
  readonly code: ApiErrorCode;

  constructor(code: ApiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ApiError';
    this.code = code;
  }
}

/** Messages of an error answer behind its first, which names the endpoint. */
export const CAUSES_MAX = 16;

/** The messages of an error and its causes, outermost first: the body of an error answer. */
export function errorChain(error: unknown): string[] {
  const messages: string[] = [];
  let at = error;
  while (at instanceof Error && messages.length < CAUSES_MAX) {
    // an error that has the reason of its cause in its own message tells it once
    if (messages.at(-1)?.includes(clip(reasonOf(at))) !== true) messages.push(clip(at.message));
    at = at.cause;
  }
  if (at !== undefined && !(at instanceof Error)) messages.push(preview(at));
  return messages;
}
