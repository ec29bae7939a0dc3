import type { Struct } from '../schema/field.ts';
import type { NamedSchema, Phase, RouteDefinition } from './route.ts';

export const ALWAYS: readonly Phase[] = ['none', 'Created', 'Running', 'Paused', 'Shutdown'];
export const WITH_VM: readonly Phase[] = ['Created', 'Running', 'Paused', 'Shutdown'];
export const BOOTED: readonly Phase[] = ['Running', 'Paused'];
export const WITHOUT_VM: readonly Phase[] = ['none'];

/** Texts of an endpoint in the document, and the phases in which it may be called. */
export type Texts = Pick<
  RouteDefinition,
  | 'summary'
  | 'operationId'
  | 'answers'
  | 'furtherAnswers'
  | 'phases'
  | 'phasesOfConfig'
  | 'phasesOfLive'
  | 'refusals'
  | 'beyond'
  | 'asynchronous'
  | 'path'
>;

/** Returns the route of a request that changes nothing and has a reply. */
export function query<P extends NamedSchema>(
  texts: Texts & { readonly body: 'ignored' | 'refused'; readonly reply: P },
): RouteDefinition<undefined, P, true> {
  return { ...texts, method: 'GET', request: undefined, implemented: true };
}

/** Returns the route of a request without a body. */
export function action(
  texts: Texts & { readonly body?: 'ignored' | 'refused' },
): RouteDefinition<undefined, undefined, true> {
  return {
    body: 'refused',
    ...texts,
    method: 'PUT',
    request: undefined,
    reply: undefined,
    implemented: true,
  };
}

/** Returns the route of a request with a body and without a reply. */
export function change<Q extends Struct>(
  request: Q,
  requestDoc: string,
  texts: Texts,
): RouteDefinition<Q, undefined, true> {
  return {
    ...texts,
    method: 'PUT',
    body: 'required',
    request,
    requestDoc,
    reply: undefined,
    implemented: true,
  };
}
