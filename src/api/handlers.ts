import type { Dialect } from '../config/dialect.ts';
import { ConfigError } from '../config/errors.ts';
import { decodeVmConfig, warningsOf } from '../config/decode-vm-config.ts';
import { decode, DecodeError } from '../schema/decode.ts';
import { createLog } from '../util/log.ts';
import { ApiError, type ApiErrorCode } from './errors.ts';
import type {
  Accepted,
  ClientOperation,
  Endpoint,
  Endpoints,
  Handler,
  Phase,
  ReceivedFiles,
  Route,
  RouteDefinition,
  SchemaValue,
} from './route.ts';
import { ROUTES, type RouteName } from './routes.ts';

const log = createLog('api');

/** Names of the supported endpoints. */
export type ImplementedRoute = {
  [K in RouteName]: (typeof ROUTES)[K]['implemented'] extends true ? K : never;
}[RouteName];

/** Request of a handler: the checked body, `undefined` if the endpoint has none. */
export type RequestOf<K extends RouteName> = (typeof ROUTES)[K]['request'] extends undefined
  ? void
  : SchemaValue<(typeof ROUTES)[K]['request']>;

/** Reply of an endpoint; `undefined` is 204. */
export type ReplyOf<K extends RouteName> = (typeof ROUTES)[K] extends
  | { readonly replyAfterBoot: true }
  | { readonly replyBeyond: true }
  ? SchemaValue<(typeof ROUTES)[K]['reply']> | undefined
  : SchemaValue<(typeof ROUTES)[K]['reply']>;

/** Handlers of the API: one function for each endpoint, typed by the table of routes. */
export type Handlers = {
  readonly [K in ImplementedRoute]: (
    request: RequestOf<K>,
    files?: ReceivedFiles,
    operation?: ClientOperation,
  ) => Promise<ReplyOf<K>>;
};

/** Any handler. Declared as a method, because the route's decoder has checked the type of the request. */
type AnyHandler = { handle(...request: Parameters<Handler>): Promise<unknown> }['handle'];

/** Starts a request of an endpoint as an operation; `run` serves it. `wait`: time limit in `seconds`. Throws ApiError. */
export type StartOperation = (request: {
  readonly kind: string;
  readonly wait: number | undefined;
  readonly run: (operation: ClientOperation) => Promise<unknown>;
}) => Accepted;

/**
 * Returns the routes with their handlers, for the HTTP server. Unsupported endpoints answer 501. `phaseNow` returns the phase of
 * the VMM, or undefined while an operation may change it: the request is then checked when its operation starts. `dialectNow`
 * returns the dialect of the VM. Without `startOperation` all requests are served synchronously.
 */
export function endpointsOf(
  handlers: Handlers,
  phaseNow: () => Phase | undefined = () => undefined,
  dialectNow: () => Dialect | undefined = () => undefined,
  startOperation?: StartOperation,
): Endpoints {
  const given = new Map<string, AnyHandler>(Object.entries(handlers));
  const checkNow = (route: CheckedRoute): void => {
    const phase = phaseNow();
    if (phase !== undefined) checkPhaseOf(route, phase, dialectNow());
  };
  return new Map(
    Object.entries<RouteDefinition>(ROUTES).map(([name, route]) => [
      name,
      withCheck(toEndpoint(name, { route, handle: given.get(name), startOperation }), route, checkNow),
    ]),
  );
}

/**
 * Checks that an endpoint may be called in a phase.
 * @throws ApiError `no-vm` or `wrong-state`, or the refusal of the route
 */
export function checkPhase(name: RouteName, phase: Phase, dialect?: Dialect): void {
  checkPhaseOf(ROUTES[name], phase, dialect);
}

/**
 * Checks that a request with `live` may be made in a phase.
 * @throws ApiError as `checkPhase` does
 */
export function checkPhaseOfLive(name: RouteName, phase: Phase): void {
  const route: RouteDefinition = ROUTES[name];
  checkPhaseOf({ ...route, phases: route.phasesOfLive ?? route.phases }, phase);
}

/**
 * Checks that the endpoint of a definition may be called in a phase.
 * @throws ApiError as `checkPhase` does
 */
export function checkPhaseOf(route: CheckedRoute, phase: Phase, dialect?: Dialect): void {
  const legal = (dialect?.resizesConfig === true ? route.phasesOfConfig : undefined) ?? route.phases;
  if (legal.includes(phase)) return;
  const code = route.refusals?.[phase] ?? (phase === 'none' ? 'no-vm' : 'wrong-state');
  throw new ApiError(code, refusal(phase, legal));
}

type CheckedRoute = Pick<RouteDefinition, 'phases' | 'phasesOfConfig' | 'refusals'>;

function refusal(phase: Phase, legal: readonly Phase[]): string {
  if (phase === 'none') return 'The VM is not created';
  if (legal.includes('none')) return `The VM is already created (it is ${phase})`;
  return `The VM is ${phase}, it must be ${legal.join(' or ')}`;
}

interface Parts {
  readonly route: RouteDefinition;
  readonly handle: AnyHandler | undefined;
  readonly startOperation: StartOperation | undefined;
}

function toEndpoint(name: string, { route, handle, startOperation }: Parts): Endpoint {
  if (!route.implemented || handle === undefined) {
    // the body is ignored
    return { route: transport(route, 'ignored', () => undefined), handle: () => refuse(name, route) };
  }
  const endpoint = {
    route: transport(route, route.body, (json) => decodeRequest(name, route, json)),
    handle,
  };
  if (route.asynchronous !== true || startOperation === undefined) return endpoint;
  return {
    ...endpoint,
    start: (request, { wait }, files) =>
      startOperation({ kind: name, wait, run: (operation) => handle(request, files, operation) }),
  };
}

/** Adds the check of the phase: before the body is decoded, and where the phases depend on the body also then. */
function withCheck(
  endpoint: Endpoint,
  route: RouteDefinition,
  checkNow: (route: CheckedRoute) => void,
): Endpoint {
  const { phasesOfLive } = route;
  if (phasesOfLive === undefined) {
    return { ...endpoint, route: { ...endpoint.route, check: () => checkNow(route) } };
  }
  const decodeChecked = (json: unknown): unknown => {
    if (!isLive(json)) checkNow(route);
    return endpoint.route.decode(json);
  };
  const check = (): void => checkNow({ ...route, phases: phasesOfLive });
  return { ...endpoint, route: { ...endpoint.route, check, decode: decodeChecked } };
}

function isLive(json: unknown): boolean {
  return typeof json === 'object' && json !== null && 'live' in json && json.live === true;
}

function transport(route: RouteDefinition, body: Route['body'], decode: Route['decode']): Route {
  const { method, path } = route;
  const at = path === undefined ? {} : { path };
  return { method, ...at, body, decode, notAllowed: (verb) => isNotAllowed(route, verb) };
}

/** Methods of Cloud Hypervisor's clients. One in place of the other is answered as by Cloud Hypervisor. */
const CLIENT_VERBS: readonly string[] = ['GET', 'PUT'] satisfies RouteDefinition['method'][];

/** Returns true if a wrong method is answered 405: on paths and for methods that Cloud Hypervisor's clients do not use. */
function isNotAllowed({ beyond }: RouteDefinition, verb: string): boolean {
  return beyond === true || !CLIENT_VERBS.includes(verb);
}

async function refuse(name: string, { answers }: RouteDefinition): Promise<never> {
  throw new ApiError('not-supported', answers[501] ?? `${name} is not supported yet`);
}

/** @throws ApiError naming the field */
function decodeRequest(name: string, route: RouteDefinition, json: unknown): unknown {
  if (route.request === undefined) return undefined;
  try {
    if (route.request === ROUTES['vm.create'].request) {
      const { config, warnings } = decodeVmConfig(json);
      for (const warning of warnings) log.warn(`${name}: ${warning}`);
      return config;
    }
    const request = decode(route.request, json);
    for (const warning of warningsOf(route.request, json, request)) log.warn(`${name}: ${warning}`);
    return request;
  } catch (error) {
    throw toApiError(error);
  }
}

const CODES: Readonly<Record<ConfigError['kind'], ApiErrorCode>> = {
  malformed: 'bad-request',
  invalid: 'invalid-config',
  duplicate: 'invalid-config',
};

/** Converts an error of a configuration or a request to an ApiError; returns any other error unchanged. */
export function toApiError(error: unknown): unknown {
  if (error instanceof ConfigError) {
    return new ApiError(CODES[error.kind], 'The VM configuration is not valid', {
      cause: new Error(error.message, { cause: error }),
    });
  }
  if (error instanceof DecodeError) {
    return new ApiError('bad-request', 'The request is not valid', {
      cause: new Error(error.message, { cause: error }),
    });
  }
  return error;
}
