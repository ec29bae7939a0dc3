import type * as v from 'valibot';
import type { DocumentFragment, Struct } from '../schema/field.ts';
import type { OperationTracker } from '../util/operation-tracker.ts';
import type { ApiErrorCode } from './errors.ts';
import type { NamedMap, VmState } from './replies.ts';

/** An endpoint for the HTTP server. `api/routes.ts` has one for each path and method. */
export interface Route {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /**
   * Path below `/api/v1/`; default: the name of the endpoint. A last segment in braces, as in `vmm.operations/{id}`, is a parameter. It
   * stands for any text without `/`, which the handler gets as that member of its request.
   */
  readonly path?: string;
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

/** A request that is served asynchronously: its client observes it, and may cancel it. */
export interface ClientOperation extends OperationTracker {
  /** aborted when the operation is cancelled, with the reason */
  readonly signal: AbortSignal;
  /** aborted at the time limit of the client, also after `commit` */
  readonly expired: AbortSignal;
  /** To be called when the operation leaves the queue. @throws the reason if it was cancelled before */
  readonly begin: () => void;
}

/**
 * Serves a route. Gets the decoded body. `undefined` is answered 204 without a body, any other value 200 with JSON. `operation`
 * is undefined for a request that is served synchronously.
 */
export type Handler = (
  request: unknown,
  files?: ReceivedFiles,
  operation?: ClientOperation,
) => Promise<unknown>;

/** Answer to a request that is served asynchronously (RFC 7240, section 4.1). */
export interface Accepted {
  /** path below `/api/v1/` of the operation */
  readonly location: string;
  /** body of the answer */
  readonly body: unknown;
}

/** Preferences of a client for an asynchronous request (RFC 7240, section 4). */
export interface AsyncPreference {
  /** time limit of the operation, in `seconds`; undefined without `wait` */
  readonly wait: number | undefined;
}

/**
 * Starts a request as an operation, and returns before it ends. Gets the decoded body. Throws `ApiError` if the request is
 * rejected before it is queued.
 */
export type StartHandler = (request: unknown, preference: AsyncPreference, files?: ReceivedFiles) => Accepted;

/** A route and its handlers. */
export interface Endpoint {
  readonly route: Route;
  readonly handle: Handler;
  /** serves requests with `Prefer: respond-async`; undefined if the endpoint ignores that preference */
  readonly start?: StartHandler;
}

/** Endpoints by name. The name is the path below `/api/v1/`, e.g. `vm.create`, unless the route has another path. */
export type Endpoints = ReadonlyMap<string, Endpoint>;

/** An endpoint whose answer has no end of its own: it ends with the connection. `api/stream-routes.ts` has one for each path. */
export interface StreamRoute {
  readonly method: 'GET';
  /** media type of the answer, e.g. `text/event-stream` */
  readonly contentType: string;
}

/** Head of a request for a stream. */
export interface StreamRequest {
  /** parameters behind the `?` of the path */
  readonly query: URLSearchParams;
  /** Returns the value of a header. `name` is in lower case. */
  readonly header: (name: string) => string | undefined;
}

/** Receiver of a stream's bytes. */
export interface StreamSink {
  /** bytes that wait until the client reads */
  readonly queuedBytes: number;
  /** Queues bytes without waiting. They are sent in the order of the calls, as fast as the client reads. */
  readonly write: (bytes: Uint8Array) => void;
  /** Drops the queued bytes that are not on their way yet. Each `write` is sent as a whole or not at all. */
  readonly discard: () => void;
}

/**
 * Sends a stream. The connection is closed when it settles. `signal` is aborted when the client has closed the connection, and when the
 * server closes: what is queued by then is still delivered.
 */
export type SendStream = (sink: StreamSink, signal: AbortSignal) => Promise<void>;

/** Checks a request and returns the function that serves it. @throws ApiError for a request that is not valid */
export type StreamHandler = (request: StreamRequest) => SendStream;

/** Streams by path below `/api/v1/`, e.g. `vmm.events`. */
export type Streams = ReadonlyMap<string, { readonly route: StreamRoute; readonly handle: StreamHandler }>;

/** Connection of a client that exchanges messages with the VMM: a WebSocket. No method blocks. */
export interface MessageChannel {
  readonly sendBytes: (bytes: Buffer) => void;
  readonly sendText: (text: string) => void;
  /** Returns the number of bytes that the client has not taken yet. The sender bounds it. */
  readonly queued: () => number;
  /** Stops reading messages until `resume`. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Ends the connection with a status code of RFC 6455, section 7.4, and a reason of at most 123 bytes. */
  readonly close: (code: number, reason: string) => void;
}

/** Receiver of what a client does on its connection. */
export interface MessageReceiver {
  readonly onBytes: (bytes: Buffer) => void;
  readonly onText: (text: string) => void;
  /** called when the client has taken bytes of the queue */
  readonly onTaken: () => void;
  /** called once, when the connection is closed */
  readonly onClose: () => void;
}

/**
 * Accepts a request whose connection becomes a {@link MessageChannel}. Returns a function that is called with the channel, once the
 * client has its answer. Throws ApiError: the client gets an error answer instead.
 */
export type AcceptUpgrade = (query: URLSearchParams) => StartMessages | Promise<StartMessages>;

/** Starts to send messages to a client, and returns the receiver of its messages. */
export type StartMessages = (channel: MessageChannel) => MessageReceiver;

/** A parameter of a query, for the document. */
export interface RouteParameter {
  readonly name: string;
  readonly doc: string;
  readonly required?: boolean;
  /** JSON schema */
  readonly schema: DocumentFragment;
}

/** Endpoints that only answer upgrades of a connection, by path below `/api/v1/`. */
export type Upgrades = ReadonlyMap<string, AcceptUpgrade>;

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
  /** see `Route`; the parameter is a member of `request` */
  readonly path?: string;
  readonly body: Route['body'];
  readonly summary: string;
  readonly operationId?: string;
  readonly request: Request;
  readonly requestDoc?: string;
  readonly reply: Reply;
  /** 204 instead of the reply if the VM is not booted */
  readonly replyAfterBoot?: boolean;
  /** the reply is not in the contract's document: only requests with members beyond it have one, all others are answered 204 */
  readonly replyBeyond?: boolean;
  /** status codes of the document, with its texts */
  readonly answers: Readonly<Record<number, string>>;
  /** further status codes, not in the contract's document, with their meaning */
  readonly furtherAnswers?: Readonly<Record<number, string>>;
  /** phases in which the endpoint may be called */
  readonly phases: readonly Phase[];
  /** the same in dialects in which a resize before boot changes the configuration */
  readonly phasesOfConfig?: readonly Phase[];
  /** the same for requests with `live` */
  readonly phasesOfLive?: readonly Phase[];
  /** error of a phase, if not `no-vm` without a VM and `wrong-state` with one */
  readonly refusals?: Readonly<Partial<Record<Phase, ApiErrorCode>>>;
  /** served asynchronously if the client prefers that */
  readonly asynchronous?: boolean;
  /** `false`: answered 501 */
  readonly implemented: Implemented;
  /** not in the contract's document */
  readonly beyond?: boolean;
}
