import type * as v from 'valibot';
import type { Struct } from '../schema/field.ts';
import type { ApiErrorCode } from './errors.ts';
import type { NamedMap, VmState } from './replies.ts';

/** An endpoint for the HTTP server. `api/routes.ts` has one for each path. */
export interface Route {
  readonly method: 'GET' | 'PUT';
  /** `refused`: a body is an error (400); `ignored`: it is read and dropped */
  readonly body: 'required' | 'refused' | 'ignored';
  /**
   * Returns true if a method other than `method` is answered 405 with `Allow`. Otherwise, and without this function, the
   * answer is 400, as by Cloud Hypervisor.
   */
  readonly notAllowed?: (verb: string) => boolean;
  /** Rejects a request that is not allowed now, before its body is decoded; throws `ApiError`. */
  readonly check?: () => void;
  /** Checks the parsed JSON body; throws `ApiError` `bad-request` with the field. */
  readonly decode: (json: unknown) => unknown;
}

/** Open descriptors that were received with a request (SCM_RIGHTS). */
export interface ReceivedFiles {
  /** Returns them; the caller closes them. Must be called before the first await. */
  readonly take: () => readonly number[];
}

/** Serves a route. Gets the decoded body. `undefined` is answered 204 without a body, any other value 200 with JSON. */
export type Handler = (request: unknown, files?: ReceivedFiles) => Promise<unknown>;

/** Route and handler by path below `/api/v1/`, e.g. `vm.create`. */
export type Endpoints = ReadonlyMap<string, { readonly route: Route; readonly handle: Handler }>;

/** State of the VM, or `none` if there is no VM. */
export type Phase = 'none' | VmState;

/** A schema of the document. */
export type NamedSchema = Struct | NamedMap;

/** A value of a named schema. */
export type SchemaValue<S> = S extends { readonly schema: v.GenericSchema }
  ? v.InferOutput<S['schema']>
  : void;

/** Definition of an endpoint: its request and reply, and the phases in which it may be called. */
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
  /** 204 instead of the reply if the VM is not booted */
  readonly replyAfterBoot?: boolean;
  /** status codes of the document, with its texts */
  readonly answers: Readonly<Record<number, string>>;
  /** further status codes, not in the contract's document, with their meaning */
  readonly furtherAnswers?: Readonly<Record<number, string>>;
  /** phases in which the endpoint may be called */
  readonly phases: readonly Phase[];
  /** the same in dialects in which a resize before boot changes the configuration */
  readonly phasesOfConfig?: readonly Phase[];
  /** error of a phase, if not `no-vm` without a VM and `wrong-state` with one */
  readonly refusals?: Readonly<Partial<Record<Phase, ApiErrorCode>>>;
  /** `false`: answered 501 */
  readonly implemented: Implemented;
  /** not in the contract's document */
  readonly beyond?: boolean;
}
