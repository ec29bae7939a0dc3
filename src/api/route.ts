import type * as v from 'valibot';
import type { Struct } from '../schema/field.ts';
import type { ApiErrorCode } from './errors.ts';
import type { NamedMap, VmState } from './replies.ts';

/** One endpoint of the API as the transport sees it. `api/routes.ts` holds one a path. */
export interface Route {
  readonly method: 'GET' | 'PUT';
  /** `refused`: a body is an error (400); `ignored`: it is read and thrown away */
  readonly body: 'required' | 'refused' | 'ignored';
  /**
   * Whether another verb than `method` is answered 405 with `Allow`; without it, and for all other verbs, the answer is
   * Cloud Hypervisor's: 400.
   */
  readonly notAllowed?: (verb: string) => boolean;
  /** Refuses a request that cannot be served now, before its body is looked at; throws `ApiError`. */
  readonly check?: () => void;
  /** Checks the parsed JSON body; throws `ApiError('bad-request')` naming the field. */
  readonly decode: (json: unknown) => unknown;
}

/** Open descriptors that came with a request (SCM_RIGHTS). */
export interface ReceivedFiles {
  /** Hands them over: whoever takes them closes them. To be called before anything is waited for. */
  readonly take: () => readonly number[];
}

/** What serves a route: gets the decoded body; `undefined` is answered 204 without a body, else 200 with JSON. */
export type Handler = (request: unknown, files?: ReceivedFiles) => Promise<unknown>;

/** The path below `/api/v1/`, e.g. `vm.create`, to its route and handler. */
export type Endpoints = ReadonlyMap<string, { readonly route: Route; readonly handle: Handler }>;

/** What the VMM has: no VM, or one in a state. */
export type Phase = 'none' | VmState;

/** A schema of the document. */
export type NamedSchema = Struct | NamedMap;

/** A value of a named schema. */
export type SchemaValue<S> = S extends { readonly schema: v.GenericSchema }
  ? v.InferOutput<S['schema']>
  : void;

/** Everything that is known about an endpoint: what it takes and answers, and when it may be called. */
export interface RouteDefinition<
  Request extends Struct | undefined = Struct | undefined,
  Reply extends NamedSchema | undefined = NamedSchema | undefined,
  Implemented extends boolean = boolean,
> {
  readonly method: Route['method'];
  readonly body: Route['body'];
  readonly summary: string;
  readonly operationId?: string;
  readonly request: Request;
  readonly requestDoc?: string;
  readonly reply: Reply;
  /** 204 instead of the reply where there is no running VM yet */
  readonly replyAfterBoot?: boolean;
  /** status codes of the document and what they mean there */
  readonly answers: Readonly<Record<number, string>>;
  /** further status codes, which the contract's document does not list, and what they mean here */
  readonly furtherAnswers?: Readonly<Record<number, string>>;
  /** what the VMM must have */
  readonly phases: readonly Phase[];
  /** what the VMM must have in the dialects in which a VM is resized by its configuration before it is booted */
  readonly phasesOfConfig?: readonly Phase[];
  /** how a phase is refused, where it is not `no-vm` without a VM and `wrong-state` with one */
  readonly refusals?: Readonly<Partial<Record<Phase, ApiErrorCode>>>;
  /** `false`: answered 501 until its issue is done */
  readonly implemented: Implemented;
  /** not in the contract's document */
  readonly beyond?: boolean;
}
