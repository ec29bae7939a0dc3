import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';

import { ApiError } from '../api/errors.ts';
import { descriptorLimit } from '../util/descriptor-limit.ts';
import type { Endpoints, Route, Streams, Upgrades } from '../api/route.ts';
import { checkLength, hasBody, readBody } from './body.ts';
import { Connection } from './connection.ts';
import type { Exchange } from './connection.ts';
import { requestClass } from './offered-upgrade.ts';
import { parseJson } from './parse-json.ts';
import { indexPaths, type FoundPath, type Paths } from './paths.ts';
import { asyncPreference } from './prefer.ts';
import { createStreamRequests } from './stream-requests.ts';
import { listen } from './listener.ts';
import type { ListenAddress, Listener, OpenListener } from './listener.ts';
import type { Gate } from './gate.ts';
import { MAX_HEAD_BYTES, protocolFault } from './protocol-fault.ts';
import {
  ProtocolError,
  acceptedReply,
  errorReply,
  notFoundReply,
  protocolReply,
  valueReply,
  wrongVerbReply,
} from './reply.ts';
import type { HeldDescriptors } from './received-descriptors.ts';
import type { Reply } from './reply.ts';
import { BASE_PATH, pathOf } from './target.ts';
import { offersUpgrade, plainReply, queueUpgrade } from './upgrade.ts';

/*
 * HTTP on the API socket: bytes, JSON and status codes. The endpoints are an argument, so nothing in this folder knows a VM.
 *
 * - `listener.ts` accepts connections, and `receiving-stream.ts` keeps the descriptors that arrive with their bytes.
 * - `paths.ts` finds the endpoints of a path, `prefer.ts` the client's preferences (RFC 7240).
 * - `connection.ts` orders the requests of one client; `body.ts` and `parse-json.ts` decode them; `reply.ts` encodes replies.
 * - `upgrade.ts` makes a connection a WebSocket; `offered-upgrade.ts` finds the requests for that, `web-socket.ts` has the messages.
 * - `gate.ts`: rules of a listener that browsers can reach, which `src/web/` implements.
 * - `stream.ts` sends answers that have no end of their own, such as events.
 * - `metrics-server.ts` serves one page on a socket of its own.
 *
 * Invariants: the requests of a connection are handled one after the other, and each gets one reply. After a fault of HTTP the
 * connection ends, behind the replies to earlier requests. Heads, bodies, connections, queued requests and held descriptors are
 * limited. Descriptors that no handler takes are closed. Only `reply.ts` maps errors to status codes.
 */

const CLOSE_DEADLINE_MS = 2000;
/** Deadline from the first byte of a request head to its end, in milliseconds: enough to type one by hand. */
const HEAD_DEADLINE_MS = 60_000;

/** The API on a socket. */
export interface ApiServer extends AsyncDisposable {
  /**
   * Accepts no new connection or request, removes the socket file, waits `deadlineMs` (default 2 s) for current replies, then
   * closes every connection. A second call waits for the first. A handler may start it, as vmm.shutdown does, and its own reply
   * is still delivered, but it must not wait for it.
   */
  readonly close: (deadlineMs?: number) => Promise<void>;
}

/** Content of the API, below `/api/v1/`; the same on each listener. */
export interface ServedApi {
  readonly endpoints: Endpoints;
  readonly streams?: Streams | undefined;
  /** endpoints that make a connection a WebSocket */
  readonly upgrades?: Upgrades;
}

interface ServeOptions extends ServedApi {
  readonly listen: ListenAddress | OpenListener;
  /** without one, all requests reach the API */
  readonly gate?: Gate;
  /** deadline from the first byte of a request head to its end */
  readonly headDeadlineMs?: number | undefined;
}

/** Serves the API. Rejects where it cannot listen; the cause is the reason. */
export async function serve(options: ServeOptions): Promise<ApiServer> {
  const connections = new Map<Duplex, Connection>();
  const { gate } = options;
  const http = createHttpServer(
    {
      paths: indexPaths(options.endpoints),
      findStream: createStreamRequests(options.streams ?? new Map()),
      upgrades: options.upgrades ?? new Map(),
      gate,
    },
    (socket) => connections.get(socket),
    options.headDeadlineMs,
  );
  const { listen: where } = options;
  const open: OpenListener = typeof where === 'function' ? where : (onOne) => listen(where, onOne);
  const listener = await open((socket) => {
    const connection = new Connection(socket, gate?.headers);
    if (!closeIdleConnection(connections)) return connection.closeWith(protocolReply(FULL));
    connections.set(socket, connection);
    socket.once('close', () => connections.delete(socket));
    // Node counts the time of a head from here on: before its first byte a client may be silent without limit
    socket.once('readable', () => http.emit('connection', socket));
  });
  let closed: Promise<void> | undefined;
  const close = (deadlineMs = CLOSE_DEADLINE_MS) =>
    (closed ??= shutDown(listener, connections, deadlineMs).finally(() => void http.close()));
  return { close, [Symbol.asyncDispose]: () => close() };
}

/** Most connections at the same time: a quarter of the descriptor limit of this process. */
const connectionsMax = (): number => Math.min(1024, descriptorLimit() / 4);

const FULL = new ProtocolError(503, 'There are too many connections');

/** Closes the oldest connection without an admitted request where there are too many. @returns false where all have sent one */
function closeIdleConnection(connections: ReadonlyMap<Duplex, Connection>): boolean {
  if (connections.size < connectionsMax()) return true;
  for (const connection of connections.values()) {
    if (connection.isAdmitted) continue;
    connection.destroy();
    return true;
  }
  return false;
}

async function shutDown(
  listener: Listener,
  connections: ReadonlyMap<Duplex, Connection>,
  deadlineMs: number,
): Promise<void> {
  const allClosed = listener.close();
  for (const connection of connections.values()) connection.stop();
  const timer = setTimeout(() => {
    for (const connection of connections.values()) connection.destroy();
  }, deadlineMs);
  await allClosed;
  clearTimeout(timer);
}

/** Content of a listener: endpoints and streams, and the gate before them. */
interface Served {
  readonly paths: Paths;
  readonly findStream: ReturnType<typeof createStreamRequests>;
  readonly upgrades: Upgrades;
  readonly gate: Gate | undefined;
}

/**
 * Creates Node's HTTP server without a listener of its own: it gets each connection by a `connection` event. It closes
 * no idle connection, as clients keep one as long as the VM; a request head must end before its deadline.
 */
function createHttpServer(
  served: Served,
  connectionOf: (socket: Duplex) => Connection | undefined,
  headDeadlineMs = HEAD_DEADLINE_MS,
): Server {
  const server = createServer({
    keepAliveTimeout: 0,
    headersTimeout: headDeadlineMs,
    connectionsCheckingInterval: headDeadlineMs / 4,
    requestTimeout: 0,
    maxHeaderSize: MAX_HEAD_BYTES,
    requireHostHeader: false,
    insecureHTTPParser: false,
    IncomingMessage: requestClass((request) => offersUpgrade(served.upgrades, request)),
  });
  // Node would drop the headers behind the first 2000, and with them an Origin or a Content-Length; the size of a head is limited
  server.maxHeadersCount = 0;
  // not in Node's documentation: this event starts the check of the deadline of heads
  server.emit('listening');
  // not in Node's documentation: a client that has closed its sending side still gets its replies
  Object.assign(server, { httpAllowHalfOpen: true });
  const onRequest = (request: IncomingMessage, response: Exchange['response']) => {
    const connection = connectionOf(request.socket);
    if (connection === undefined) return;
    const descriptors = connection.takeDescriptors();
    connection.enqueue(() =>
      serveRequest(served, connection, { request, response, descriptors }).finally(descriptors.close),
    );
  };
  server.on('request', onRequest);
  server.on('checkContinue', onRequest);
  // any other expectation is ignored, as Cloud Hypervisor does
  server.on('checkExpectation', onRequest);
  server.on('upgrade', (request, socket, head) => {
    const connection = connectionOf(socket);
    if (connection !== undefined) queueUpgrade(served, connection, { request, socket, head });
  });
  server.on('connect', (request, socket) => {
    connectionOf(socket)?.fail(new ProtocolError(400, `Method ${request.method} is not supported`));
  });
  server.on('clientError', (error, socket) => {
    const fault = protocolFault(error);
    if (fault === undefined) socket.destroy();
    else connectionOf(socket)?.fail(fault);
  });
  return server;
}

/** Reads one request, handles it and sends the reply. */
async function serveRequest(
  { paths, findStream, upgrades, gate }: Served,
  connection: Connection,
  exchange: Exchange & { readonly descriptors: HeldDescriptors },
): Promise<void> {
  const { request, descriptors } = exchange;
  const reply = gate?.answer(request);
  if (reply !== undefined) return answerAtGate(connection, exchange, reply);
  connection.admit();
  const path = pathOf(request.url ?? '');
  const name = path.startsWith(BASE_PATH) ? path.slice(BASE_PATH.length) : '';
  const found = paths.find(name);
  const serveStream = found === undefined ? findStream(name) : undefined;
  let body: Buffer;
  try {
    body = await receiveBody(request, connection);
  } catch (error) {
    if (!(error instanceof ProtocolError)) return;
    const isKnown = found !== undefined || serveStream !== undefined;
    connection.closeWith(isKnown ? errorReply(name.replace(/\?.*/s, ''), error) : protocolReply(error));
    request.resume();
    return;
  }
  if (serveStream !== undefined) return serveStream(connection, exchange);
  await connection.respond(exchange, async () =>
    found === undefined
      ? (plainReply(upgrades, request) ?? notFoundReply(path))
      : call(name, found, { request, body, descriptors }),
  );
}

/** Checks a head and reads the body. @throws ProtocolError */
function receiveBody(request: IncomingMessage, connection: Connection): Promise<Buffer> {
  checkVersion(request);
  checkLength(request);
  if (/^100-continue$/i.test(request.headers.expect ?? '') && hasBody(request)) connection.sendContinue();
  return readBody(request, connection.broken);
}

/** Sends the reply of the gate. A body is not read: the connection ends with the reply then. */
async function answerAtGate(connection: Connection, exchange: Exchange, reply: Reply): Promise<void> {
  const { request } = exchange;
  if (!hasBody(request)) return connection.respond(exchange, async () => reply);
  connection.closeWith(reply);
  request.resume();
}

interface Call {
  readonly request: IncomingMessage;
  readonly body: Buffer;
  readonly descriptors: HeldDescriptors;
}

async function call(name: string, { endpoints, parameters }: FoundPath, called: Call): Promise<Reply> {
  const { request, body, descriptors } = called;
  const method = request.method ?? '';
  try {
    const endpoint = endpoints.find(({ route }) => route.method === method);
    if (endpoint === undefined) {
      const routes = endpoints.map(({ route }) => route);
      return wrongVerbReply(name, routes, method);
    }
    const { route, handle, start } = endpoint;
    const preference = start && asyncPreference(request.headers['prefer']);
    if (start !== undefined && preference !== undefined) {
      const decoded = await decodeStarted(route, body);
      return acceptedReply(BASE_PATH, start(decoded, preference, descriptors), preference);
    }
    if (route.body !== 'required') {
      checkEmpty(route, body);
      return valueReply(await handle(parameters, descriptors));
    }
    return valueReply(await handle(await decodeBody(route, body), descriptors));
  } catch (error) {
    return errorReply(name, error);
  }
}

/** Decodes a request that is started as an operation. @throws ApiError if its state or its body is wrong */
async function decodeStarted(route: Route, body: Buffer): Promise<unknown> {
  if (route.body === 'required') return decodeBody(route, body);
  checkEmpty(route, body);
  route.check?.();
  return undefined;
}

function checkEmpty(route: Route, body: Buffer): void {
  if (route.body !== 'refused' || body.length === 0) return;
  throw new ApiError('bad-request', 'Request body must be empty');
}

async function decodeBody(route: Route, body: Buffer): Promise<unknown> {
  if (body.length === 0) throw new ApiError('bad-request', 'Request body is missing');
  route.check?.();
  const json = await parseJson(body);
  // the VM may have changed since
  route.check?.();
  return route.decode(json);
}

function checkVersion(request: IncomingMessage): void {
  if (request.httpVersion === '1.1' || request.httpVersion === '1.0') return;
  throw new ProtocolError(400, `HTTP version ${request.httpVersion} is not supported`);
}
