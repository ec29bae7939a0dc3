import type { Struct } from '../schema/field.ts';
import { PciDeviceInfo } from './replies.ts';
import type { NamedSchema, Phase, RouteDefinition } from './route.ts';

export const ALWAYS: readonly Phase[] = ['none', 'Created', 'Running', 'Paused', 'Shutdown'];
export const WITH_VM: readonly Phase[] = ['Created', 'Running', 'Paused', 'Shutdown'];
export const BOOTED: readonly Phase[] = ['Running', 'Paused'];
export const WITHOUT_VM: readonly Phase[] = ['none'];

/** What the document says of an endpoint, and when it may be called. */
export type Texts = Pick<
  RouteDefinition,
  | 'summary'
  | 'operationId'
  | 'answers'
  | 'furtherAnswers'
  | 'phases'
  | 'phasesOfConfig'
  | 'refusals'
  | 'beyond'
>;

/** A request that changes nothing and answers something. */
export function query<P extends NamedSchema>(
  texts: Texts & { readonly body: 'ignored' | 'refused'; readonly reply: P },
): RouteDefinition<undefined, P, true> {
  return { ...texts, method: 'GET', request: undefined, implemented: true };
}

/** A request without a body. */
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

/** A request with a body and no answer but that it was done. */
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

type AddTexts = Omit<Texts, 'phases' | 'phasesOfConfig'> & { readonly requestDoc: string };

/** A request that adds a device: before the first boot the configuration grows, later the guest sees it. */
export function add<Q extends Struct>(
  request: Q,
  texts: AddTexts,
): RouteDefinition<Q, typeof PciDeviceInfo, true> & { readonly replyAfterBoot: true } {
  return {
    furtherAnswers: { 409: 'The id of the device is taken.' },
    ...texts,
    method: 'PUT',
    body: 'required',
    request,
    reply: PciDeviceInfo,
    replyAfterBoot: true,
    phases: WITH_VM,
    implemented: true,
  };
}

export function addTexts(what: string, kind: string, detail = what): AddTexts {
  return {
    summary: `Add a new ${what} to the VM`,
    requestDoc: `The details of the new ${detail}`,
    answers: {
      200: `The new ${kind} was successfully added to the VM instance.`,
      500: `The new ${kind} could not be added to the VM instance.`,
    },
  };
}

/** A request that is known and cannot be served: it is answered 501 with the reason, whatever its body is. */
export function unsupported<Q extends Struct>(
  request: Q,
  reason: string,
  { summary, requestDoc }: Pick<AddTexts, 'summary' | 'requestDoc'>,
): RouteDefinition<Q, typeof PciDeviceInfo, false> & { readonly replyAfterBoot: true } {
  return {
    summary,
    requestDoc,
    method: 'PUT',
    body: 'required',
    request,
    reply: PciDeviceInfo,
    replyAfterBoot: true,
    phases: WITH_VM,
    answers: { 501: reason },
    implemented: false,
    beyond: true,
  };
}
