import type { ReplyOf } from '../api/handlers.ts';
import type { AddRouteName } from '../api/add-routes.ts';
import type { RouteDefinition } from '../api/route.ts';
import { ROUTES, type RouteName } from '../api/routes.ts';
import type { InputOf, Struct } from '../schema/field.ts';
import { requestError } from './errors.ts';
import { readEvents, type EventOptions, type VmmEvent } from './events.ts';
import { sendRequest, type ApiRequest } from './transport.ts';
import { observeRequest, type OperationOptions } from './operation.ts';

/** Request body of an endpoint. Members with a default are optional. */
export type RequestBody<K extends RouteName> = (typeof ROUTES)[K]['request'] extends infer S extends Struct
  ? InputOf<S>
  : undefined;

/** Reply of an endpoint; `undefined` for an answer without a body. */
export type ReplyBody<K extends RouteName> = ReplyOf<K>;

/** Limits of a call. */
export interface CallOptions {
  /** Time limit in `milliseconds`; default: the client's */
  readonly timeoutMs?: number;
  /** Aborts the wait; the VMM may still complete the request */
  readonly signal?: AbortSignal;
}

/** Options of a call that can send file descriptors. */
export interface DescriptorOptions extends CallOptions {
  /**
   * Open descriptors of this process, e.g. of a TAP, one for each pair of queues. The VMM gets copies (SCM_RIGHTS); the
   * caller closes its own. 64-bit Linux only.
   */
  readonly fds?: readonly number[];
}

/** Endpoints that accept file descriptors. */
export type DescriptorEndpoint = 'vm.add-net' | 'vm.restore';

/** Options of a call of an endpoint. */
export type OptionsOf<K extends RouteName> = K extends DescriptorEndpoint ? DescriptorOptions : CallOptions;

/** Endpoints that can be observed and cancelled. */
export type AsyncEndpoint =
  | AddRouteName
  | 'vm.boot'
  | 'vm.snapshot'
  | 'vm.restore'
  | 'vm.coredump'
  | 'vm.send-migration'
  | 'vm.receive-migration'
  | 'vm.resize'
  | 'vm.resize-zone'
  | 'vm.resize-disk'
  | 'vm.remove-device';

/** Options of a call that can be observed and cancelled. */
export type ObserveOptions<K extends RouteName> = OptionsOf<K> & OperationOptions;

/** Settings of a {@link Client}. */
export interface ClientOptions {
  /** Time limit of each call in `milliseconds`; none by default, because a snapshot depends on the speed of the disk */
  readonly timeoutMs?: number;
}

/** Arguments behind the endpoint: the body, if it takes one, and the options. */
export type CallArguments<K extends RouteName> =
  RequestBody<K> extends undefined
    ? [body?: undefined, options?: OptionsOf<K>]
    : [body: RequestBody<K>, options?: OptionsOf<K>];

/**
 * Client of a running VMM, of Nephos or Cloud Hypervisor. It keeps no connection, so there is nothing to close.
 *
 * ```ts
 * const client = new Client('/run/vm.sock', { timeoutMs: 5000 });
 * const { state } = await client.call('vm.info');
 * await client.call('vm.resize', { desired_vcpus: 2 });
 * ```
 */
export class Client {
  /** Path of the API's UNIX socket */
  readonly socketPath: string;
  readonly #timeoutMs: number | undefined;

  constructor(socketPath: string, options: ClientOptions = {}) {
    this.socketPath = socketPath;
    this.#timeoutMs = options.timeoutMs;
  }

  /**
   * Calls an endpoint by its name in the API document: `vm.create`, `vm.add-disk` and so on.
   * @throws {RequestError} (a subclass for each status) if the VMM answers with an error
   * @throws `TransportError` if there is no answer
   */
  async call<K extends RouteName>(endpoint: K, ...args: CallArguments<K>): Promise<ReplyBody<K>> {
    const [body, options]: [body?: unknown, options?: DescriptorOptions] = args;
    const { signal, timeoutMs = this.#timeoutMs } = options ?? {};
    const answer = await sendRequest({
      ...this.#request(endpoint, body, options),
      ...(signal !== undefined && { signal }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
    if (answer.status >= 300) throw requestError(endpoint, answer.status, answer.body);
    // the table of routes has the type of the reply
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return replyOf(answer.body) as ReplyBody<K>;
  }

  /**
   * Calls an endpoint that can take long, so that `signal` cancels the request itself: the VM is then as before. `timeoutMs`, rounded up to
   * seconds, cancels it as well, and the error is a {@link RequestError}.
   * @throws {CancelledError} if it was cancelled
   * @throws as {@link call}; a VMM without operations cannot cancel, and the error after an abort tells that
   */
  async observe<K extends AsyncEndpoint>(
    endpoint: K,
    body: RequestBody<K>,
    options: ObserveOptions<K> = {},
  ): Promise<ReplyBody<K>> {
    const { timeoutMs = this.#timeoutMs, onProgress, onAccepted, signal } = options;
    const request = {
      ...this.#request(endpoint, body, options),
      ...(timeoutMs !== undefined && { timeoutMs }),
    };
    const reply = await observeRequest(endpoint, request, { onProgress, onAccepted, signal });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return replyOf(reply) as ReplyBody<K>;
  }

  #request(endpoint: RouteName, body: unknown, options: DescriptorOptions = {}): ApiRequest {
    const { method, path = endpoint, body: kind }: RouteDefinition = ROUTES[endpoint];
    const { fds } = options;
    return {
      socketPath: this.socketPath,
      method,
      path: `/api/v1/${withParameters(path, body)}`,
      ...(body !== undefined && kind === 'required' && { body: JSON.stringify(body) }),
      ...(fds !== undefined && { fds }),
    };
  }

  /**
   * Returns the events of the VMM and its VM as they come, until the VMM exits. Without `after` they begin when the loop begins.
   *
   * A lost connection is made again, without loss as long as the VMM keeps the events (the last 1024). Events that are missed are one event
   * `gap`. A VMM of Cloud Hypervisor has no events over the API.
   * @throws {RequestError} for an `after` that is no id
   * @throws `TransportError` if no VMM answers (`connect`, also after the VMM was killed), and when the signal aborts (`aborted`)
   */
  events(options?: EventOptions): AsyncGenerator<VmmEvent, void, undefined> {
    return readEvents(this.socketPath, options);
  }
}

/** Replaces a parameter of a path by the member of the request with its name. */
function withParameters(path: string, request: unknown): string {
  return path.replace(/\{(\w+)\}$/, (_, name: string) => {
    const members: Readonly<Record<string, unknown>> =
      typeof request === 'object' && request !== null ? { ...request } : {};
    return encodeURIComponent(String(members[name]));
  });
}

/** Parses a reply. Cloud Hypervisor sends `null` for unset members, Nephos omits them: callers get `undefined` for both. */
function replyOf(body: string | undefined): unknown {
  if (body === undefined || body === '') return undefined;
  return JSON.parse(body, (_key, value: unknown) => (value === null ? undefined : value));
}
