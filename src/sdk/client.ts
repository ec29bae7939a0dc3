import type { ReplyOf } from '../api/handlers.ts';
import type { RouteDefinition } from '../api/route.ts';
import { ROUTES, type RouteName } from '../api/routes.ts';
import type { InputOf, Struct } from '../schema/field.ts';
import { requestError } from './errors.ts';
import { sendRequest, type ApiResponse } from './transport.ts';

/** What an endpoint takes: members with a default may be left out. */
export type RequestBody<K extends RouteName> = (typeof ROUTES)[K]['request'] extends infer S extends Struct
  ? InputOf<S>
  : undefined;

/** What an endpoint answers; `undefined` where it answers without a body. */
export type ReplyBody<K extends RouteName> = ReplyOf<K>;

/** How long to wait. */
export interface CallOptions {
  /** Time limit in `milliseconds`; else the client's. */
  readonly timeoutMs?: number;
  /** Gives the wait up; the VMM may still do what it was asked. */
  readonly signal?: AbortSignal;
}

/** Options of a call that may take descriptors with it. */
export interface DescriptorOptions extends CallOptions {
  /**
   * Open descriptors of this process, e.g. a TAP's, one a pair of queues. The VMM gets copies (SCM_RIGHTS): they stay
   * the caller's to close. 64-bit Linux only.
   */
  readonly fds?: readonly number[];
}

/** The endpoints that descriptors can be sent to. */
export type DescriptorEndpoint = 'vm.add-net' | 'vm.restore';

/** Options of a call of an endpoint. */
export type OptionsOf<K extends RouteName> = K extends DescriptorEndpoint ? DescriptorOptions : CallOptions;

/** Settings of a {@link Client}. */
export interface ClientOptions {
  /** Time limit of each call in `milliseconds`; none by default, as a snapshot takes as long as the disk does. */
  readonly timeoutMs?: number;
}

/** A body where the endpoint takes one, then the options. */
export type CallArguments<K extends RouteName> =
  RequestBody<K> extends undefined
    ? [body?: undefined, options?: OptionsOf<K>]
    : [body: RequestBody<K>, options?: OptionsOf<K>];

/**
 * The API of a running VMM, or of Cloud Hypervisor itself. It holds no connection, so there is nothing to close.
 *
 * ```ts
 * const client = new Client('/run/vm.sock', { timeoutMs: 5000 });
 * const { state } = await client.call('vm.info');
 * await client.call('vm.resize', { desired_vcpus: 2 });
 * ```
 */
export class Client {
  /** The UNIX socket of the API. */
  readonly socketPath: string;
  readonly #timeoutMs: number | undefined;

  constructor(socketPath: string, options: ClientOptions = {}) {
    this.socketPath = socketPath;
    this.#timeoutMs = options.timeoutMs;
  }

  /**
   * Calls an endpoint by its name in the document: `vm.create`, `vm.add-disk` and so on.
   * @throws {RequestError} (a subclass tells why) where the VMM says no, `TransportError` where it says nothing
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
    // the contract says what a reply is
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return replyOf(endpoint, answer) as ReplyBody<K>;
  }
}

/** The original answers `null` for what is not set, and we leave it out: callers see `undefined` in both cases. */
function replyOf(endpoint: RouteName, { status, body }: ApiResponse): unknown {
  if (status >= 300) throw requestError(endpoint, status, body);
  if (body === undefined || body === '') return undefined;
  return JSON.parse(body, (_key, value: unknown) => (value === null ? undefined : value));
}
