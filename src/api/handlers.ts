import type { Dialect } from '../config/dialect.ts';
import { ConfigError } from '../config/errors.ts';
import { decodeVmConfig, warningsOf } from '../config/decode-vm-config.ts';
import { decode, DecodeError } from '../schema/decode.ts';
import { createLog } from '../util/log.ts';
import { ApiError, type ApiErrorCode } from './errors.ts';
import type { Endpoints, Phase, ReceivedFiles, Route, RouteDefinition, SchemaValue } from './route.ts';
import { ROUTES, type RouteName } from './routes.ts';

const log = createLog('api');

/** The endpoints whose capability is there. */
export type ImplementedRoute = {
  [K in RouteName]: (typeof ROUTES)[K]['implemented'] extends true ? K : never;
}[RouteName];

/** What a handler gets: the checked body, `undefined` where the endpoint takes none. */
export type RequestOf<K extends RouteName> = (typeof ROUTES)[K]['request'] extends undefined
  ? void
  : SchemaValue<(typeof ROUTES)[K]['request']>;

/** What an endpoint answers; nothing is 204. */
export type ReplyOf<K extends RouteName> = (typeof ROUTES)[K] extends { readonly replyAfterBoot: true }
  ? SchemaValue<(typeof ROUTES)[K]['reply']> | undefined
  : SchemaValue<(typeof ROUTES)[K]['reply']>;

/** What serves the API: one function an endpoint, typed from the table of routes. */
export type Handlers = {
  readonly [K in ImplementedRoute]: (request: RequestOf<K>, files?: ReceivedFiles) => Promise<ReplyOf<K>>;
};

/** Any of the handlers: a method's type, as its route's decoder has made what it is called with. */
type AnyHandler = { handle(request: unknown, files?: ReceivedFiles): Promise<unknown> }['handle'];

/**
 * The routes with their handlers, as the transport takes them; what is not there yet answers 501. `phaseNow` tells what the VMM
 * has, undefined while an operation may change it: then a request is refused when its turn comes. `dialectNow` tells the dialect
 * of its VM.
 */
export function endpointsOf(
  handlers: Handlers,
  phaseNow: () => Phase | undefined = () => undefined,
  dialectNow: () => Dialect | undefined = () => undefined,
): Endpoints {
  const given = new Map<string, AnyHandler>(Object.entries(handlers));
  return new Map(
    Object.entries<RouteDefinition>(ROUTES).map(([name, route]) => [
      name,
      withCheck(toEndpoint(name, route, given.get(name)), () => {
        const phase = phaseNow();
        if (phase !== undefined) checkRoute(route, phase, dialectNow());
      }),
    ]),
  );
}

/**
 * Says no where an endpoint cannot be called now.
 * @throws ApiError
 */
export function checkPhase(name: RouteName, phase: Phase, dialect?: Dialect): void {
  checkRoute(ROUTES[name], phase, dialect);
}

function checkRoute(route: RouteDefinition, phase: Phase, dialect: Dialect | undefined): void {
  const legal = (dialect?.resizesConfig === true ? route.phasesOfConfig : undefined) ?? route.phases;
  if (legal.includes(phase)) return;
  const code = route.refusals?.[phase] ?? (phase === 'none' ? 'no-vm' : 'wrong-state');
  throw new ApiError(code, refusal(phase, legal));
}

function refusal(phase: Phase, legal: readonly Phase[]): string {
  if (phase === 'none') return 'The VM is not created';
  if (legal.includes('none')) return `The VM is already created (it is ${phase})`;
  return `The VM is ${phase}, it must be ${legal.join(' or ')}`;
}

type Endpoint = NonNullable<ReturnType<Endpoints['get']>>;

function toEndpoint(name: string, route: RouteDefinition, handle: AnyHandler | undefined) {
  if (!route.implemented || handle === undefined) {
    // whatever the body is: it is not looked at
    return { route: transport(route, 'ignored', () => undefined), handle: () => refuse(name, route) };
  }
  return { route: transport(route, route.body, (json) => decodeRequest(name, route, json)), handle };
}

function withCheck({ route, handle }: Endpoint, check: () => void): Endpoint {
  return { route: { ...route, check }, handle };
}

function transport(route: RouteDefinition, body: Route['body'], decode: Route['decode']): Route {
  return { method: route.method, body, decode, notAllowed: (verb) => isNotAllowed(route, verb) };
}

/** The verbs of Cloud Hypervisor's clients: where they send the other one, the answer is Cloud Hypervisor's. */
const CLIENT_VERBS: readonly string[] = ['GET', 'PUT'] satisfies RouteDefinition['method'][];

/** Whether a wrong verb is answered 405: where Cloud Hypervisor's clients never meet the answer. */
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

/** A fault of a configuration or of a request as the API tells it; any other error stays what it is. */
export function toApiError(error: unknown): unknown {
  if (error instanceof ConfigError) {
    return new ApiError(CODES[error.kind], 'The VM configuration is not valid', {
      cause: new Error(error.message),
    });
  }
  if (error instanceof DecodeError) {
    return new ApiError('bad-request', 'The request is not valid', { cause: new Error(error.message) });
  }
  return error;
}
