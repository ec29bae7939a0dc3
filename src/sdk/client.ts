import type { ReplyOf } from '../api/handlers.ts';
import type { RouteDefinition } from '../api/route.ts';
import { ROUTES, type RouteName } from '../api/routes.ts';
import type { InputOf, Struct } from '../schema/field.ts';
import { requestError } from './errors.ts';
import { sendRequest, type ApiResponse } from './transport.ts';

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
    const { signal, timeoutMs = this.#timeoutMs, fds } = options ?? {};
    const route: RouteDefinition = ROUTES[endpoint];
    const answer = await sendRequest({
      socketPath: this.socketPath,
      method: route.method,
      path: `/api/v1/${endpoint}`,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(fds !== undefined && { fds }),
      ...(signal !== undefined && { signal }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
    // the table of routes has the type of the reply
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return replyOf(endpoint, answer) as ReplyBody<K>;
  }
}

/** Parses a reply. Cloud Hypervisor sends `null` for unset members, Nephos omits them: callers get `undefined` for both. */
function replyOf(endpoint: RouteName, { status, body }: ApiResponse): unknown {
  if (status >= 300) throw requestError(endpoint, status, body);
  if (body === undefined || body === '') return undefined;
  return JSON.parse(body, (_key, value: unknown) => (value === null ? undefined : value));
}
