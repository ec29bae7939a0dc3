import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';

import { ApiError } from '../api/errors.ts';
import { descriptorLimit } from '../util/descriptor-limit.ts';
import type { Endpoints } from '../api/route.ts';
import { checkLength, hasBody, readBody } from './body.ts';
import { Connection } from './connection.ts';
import type { Exchange } from './connection.ts';
import { parseJson } from './parse-json.ts';
import { listen } from './listener.ts';
import type { ListenAddress, Listener } from './listener.ts';
import {
  ProtocolError,
  errorReply,
  notFoundReply,
  protocolReply,
  valueReply,
  wrongVerbReply,
} from './reply.ts';
import type { HeldDescriptors } from './received-descriptors.ts';
import type { Reply } from './reply.ts';

/*
 * HTTP on the API socket: bytes, JSON and status codes. The endpoints are an argument, so nothing in this folder knows a VM.
 *
 * - `listener.ts` accepts connections, and `receiving-stream.ts` keeps the descriptors that arrive with their bytes.
 * - `connection.ts` orders the requests of one client; `body.ts` and `parse-json.ts` decode them; `reply.ts` encodes replies.
 * - `metrics-server.ts` serves one page on a socket of its own.
 *
 * Invariants: the requests of a connection are handled one after the other, and each gets one reply. After a fault of HTTP the
 * connection ends, behind the replies to earlier requests. Heads, bodies, connections, queued requests and held descriptors are
 * limited. Descriptors that no handler takes are closed. Only `reply.ts` maps errors to status codes.
 */

const BASE_PATH = '/api/v1/';
const MAX_HEAD_BYTES = 16 * 1024;
const CLOSE_DEADLINE_MS = 2000;
/** Deadline from the first byte of a request head to its end, in milliseconds: enough to type one by hand. */
const HEAD_DEADLINE_MS = 60_000;

type Endpoint = NonNullable<ReturnType<Endpoints['get']>>;

/** The API on a socket. */
export interface ApiServer extends AsyncDisposable {
  /**
   * Accepts no new connection or request, removes the socket file, waits `deadlineMs` (default 2 s) for current replies, then
   * closes every connection. A second call waits for the first. A handler may start it, as vmm.shutdown does, and its own reply
   * is still delivered, but it must not wait for it.
   */
  readonly close: (deadlineMs?: number) => Promise<void>;
}

/** Serves `endpoints` below `/api/v1/`. Rejects where it cannot listen; the cause is the reason. */
export async function serve(options: {
  readonly listen: ListenAddress;
  readonly endpoints: Endpoints;
  /** deadline from the first byte of a request head to its end */
  readonly headDeadlineMs?: number | undefined;
}): Promise<ApiServer> {
  const connections = new Map<Duplex, Connection>();
  const http = createHttpServer(
    options.endpoints,
    (socket) => connections.get(socket),
    options.headDeadlineMs,
  );
  const listener = await listen(options.listen, (socket) => {
    const connection = new Connection(socket);
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

/** Closes the oldest connection without a request where there are too many. @returns false where all have sent one */
function closeIdleConnection(connections: ReadonlyMap<Duplex, Connection>): boolean {
  if (connections.size < connectionsMax()) return true;
  for (const connection of connections.values()) {
    if (connection.hasRequested) continue;
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

/**
 * Creates Node's HTTP server without a listener of its own: it gets each connection by a `connection` event. It closes
 * no idle connection, as clients keep one as long as the VM; a request head must end before its deadline.
 */
function createHttpServer(
  endpoints: Endpoints,
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
  });
  // not in Node's documentation: this event starts the check of the deadline of heads
  server.emit('listening');
  // not in Node's documentation: a client that has closed its sending side still gets its replies
  Object.assign(server, { httpAllowHalfOpen: true });
  const onRequest = (request: IncomingMessage, response: Exchange['response']) => {
    const connection = connectionOf(request.socket);
    if (connection === undefined) return;
    const descriptors = connection.takeDescriptors();
    connection.enqueue(() =>
      serveRequest(endpoints, connection, { request, response, descriptors }).finally(descriptors.close),
    );
  };
  server.on('request', onRequest);
  server.on('checkContinue', onRequest);
  // any other expectation is ignored, as Cloud Hypervisor does
  server.on('checkExpectation', onRequest);
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
  endpoints: Endpoints,
  connection: Connection,
  exchange: Exchange & { readonly descriptors: HeldDescriptors },
): Promise<void> {
  const { request, descriptors } = exchange;
  const path = pathOf(request.url ?? '');
  const name = path.startsWith(BASE_PATH) ? path.slice(BASE_PATH.length) : '';
  const endpoint = endpoints.get(name);
  let body: Buffer;
  try {
    checkVersion(request);
    checkLength(request);
    if (/^100-continue$/i.test(request.headers.expect ?? '') && hasBody(request)) connection.sendContinue();
    body = await readBody(request, connection.broken);
  } catch (error) {
    if (!(error instanceof ProtocolError)) return;
    connection.closeWith(endpoint === undefined ? protocolReply(error) : errorReply(name, error));
    request.resume();
    return;
  }
  await connection.respond(exchange, async () =>
    endpoint === undefined
      ? notFoundReply(path)
      : call(name, endpoint, { method: request.method ?? '', body, descriptors }),
  );
}

interface Call {
  readonly method: string;
  readonly body: Buffer;
  readonly descriptors: HeldDescriptors;
}

async function call(name: string, endpoint: Endpoint, { method, body, descriptors }: Call): Promise<Reply> {
  try {
    const { route, handle } = endpoint;
    if (method !== route.method) return wrongVerbReply(name, route, method);
    if (route.body === 'refused' && body.length > 0) {
      throw new ApiError('bad-request', 'Request body must be empty');
    }
    if (route.body !== 'required') return valueReply(await handle(undefined, descriptors));
    if (body.length === 0) throw new ApiError('bad-request', 'Request body is missing');
    route.check?.();
    return valueReply(await handle(route.decode(parseJson(body)), descriptors));
  } catch (error) {
    return errorReply(name, error);
  }
}

/** Returns the path of an origin-form (`/p`) or absolute-form (`http://host/p`) target, not decoded in any way. */
function pathOf(target: string): string {
  if (!target.startsWith('http://')) return target;
  const start = target.indexOf('/', 'http://'.length);
  return start === -1 ? '' : target.slice(start);
}

function checkVersion(request: IncomingMessage): void {
  if (request.httpVersion === '1.1' || request.httpVersion === '1.0') return;
  throw new ProtocolError(400, `HTTP version ${request.httpVersion} is not supported`);
}

/** Maps an error of Node's parser to a fault of the request; undefined for an error of the socket. */
function protocolFault(error: Error & { code?: string; reason?: string }): ProtocolError | undefined {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new ProtocolError(408, 'The request head was not whole in time');
  }
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    return new ProtocolError(431, `Request head is larger than ${MAX_HEAD_BYTES} bytes`);
  }
  if (error.code === 'HPE_INVALID_EOF_STATE') {
    return new ProtocolError(400, 'Malformed request: the connection ended in the middle of it');
  }
  if (error.code?.startsWith('HPE_') !== true) return undefined;
  return new ProtocolError(400, `Malformed request: ${error.reason ?? error.message}`);
}
