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

const BASE_PATH = '/api/v1/';
const MAX_HEAD_BYTES = 16 * 1024;
const CLOSE_DEADLINE_MS = 2000;
/** From the first byte of a head to its end: enough to type one by hand. */
const HEAD_PATIENCE_MS = 60_000;

type Endpoint = NonNullable<ReturnType<Endpoints['get']>>;

/** The API on a socket. */
export interface ApiServer extends AsyncDisposable {
  /**
   * Stops: no new connection or request is taken, the socket file goes, answers under way get `deadlineMs` (2 s
   * unless told) to come out, then every connection is gone. A second call waits for the first. A handler may start
   * it, as vmm.shutdown does, and still has its own answer delivered, but must not wait for it.
   */
  readonly close: (deadlineMs?: number) => Promise<void>;
}

/** Serves `endpoints` below `/api/v1/`. Rejects when `listen` cannot be had: the cause says why. */
export async function serve(options: {
  readonly listen: ListenAddress;
  readonly endpoints: Endpoints;
  /** from the first byte of a head to its end */
  readonly headPatienceMs?: number | undefined;
}): Promise<ApiServer> {
  const connections = new Map<Duplex, Connection>();
  const http = createHttpServer(
    options.endpoints,
    (socket) => connections.get(socket),
    options.headPatienceMs,
  );
  const listener = await listen(options.listen, (socket) => {
    const connection = new Connection(socket);
    if (!makeRoom(connections)) return connection.closeWith(protocolReply(FULL));
    connections.set(socket, connection);
    socket.once('close', () => connections.delete(socket));
    // from here on Node counts the time of a head: a client may be silent for as long as it likes before
    socket.once('readable', () => http.emit('connection', socket));
  });
  let closed: Promise<void> | undefined;
  const close = (deadlineMs = CLOSE_DEADLINE_MS) =>
    (closed ??= shutDown(listener, connections, deadlineMs).finally(() => void http.close()));
  return { close, [Symbol.asyncDispose]: () => close() };
}

/** Connections at the same time: a quarter of the descriptors that this process may have. */
const connectionsMax = (): number => Math.min(1024, descriptorLimit() / 4);

const FULL = new ProtocolError(503, 'There are too many connections');

/** Closes the oldest connection that never sent a request where there are too many. @returns false where all did */
function makeRoom(connections: ReadonlyMap<Duplex, Connection>): boolean {
  if (connections.size < connectionsMax()) return true;
  for (const connection of connections.values()) {
    if (connection.hasAsked) continue;
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
  const allGone = listener.close();
  for (const connection of connections.values()) connection.stop();
  const timer = setTimeout(() => {
    for (const connection of connections.values()) connection.destroy();
  }, deadlineMs);
  await allGone;
  clearTimeout(timer);
}

/**
 * Node's HTTP server without a listener of its own: it is handed each connection by a `connection` event. It closes
 * no connection for being idle, as clients keep one for the life of a VM; a head that was begun must end in time.
 */
function createHttpServer(
  endpoints: Endpoints,
  connectionOf: (socket: Duplex) => Connection | undefined,
  headPatienceMs = HEAD_PATIENCE_MS,
): Server {
  const server = createServer({
    keepAliveTimeout: 0,
    headersTimeout: headPatienceMs,
    connectionsCheckingInterval: headPatienceMs / 4,
    requestTimeout: 0,
    maxHeaderSize: MAX_HEAD_BYTES,
    requireHostHeader: false,
    insecureHTTPParser: false,
  });
  // Not in Node's documentation: with this event it begins to look at the time that heads take.
  server.emit('listening');
  // Not in Node's documentation: a client that has closed its sending side still gets its answers.
  Object.assign(server, { httpAllowHalfOpen: true });
  const onRequest = (request: IncomingMessage, response: Exchange['response']) => {
    const connection = connectionOf(request.socket);
    if (connection === undefined) return;
    const files = connection.takeFiles();
    connection.enqueue(() =>
      serveRequest(endpoints, connection, { request, response, files }).finally(files.close),
    );
  };
  server.on('request', onRequest);
  server.on('checkContinue', onRequest);
  // Any other expectation is ignored, as the original does.
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

/** Reads, handles and answers one request; its turn has come. */
async function serveRequest(
  endpoints: Endpoints,
  connection: Connection,
  exchange: Exchange & { readonly files: HeldDescriptors },
): Promise<void> {
  const { request, files } = exchange;
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
      : call(name, endpoint, { method: request.method ?? '', body, files }),
  );
}

interface Call {
  readonly method: string;
  readonly body: Buffer;
  readonly files: HeldDescriptors;
}

async function call(name: string, endpoint: Endpoint, { method, body, files }: Call): Promise<Reply> {
  try {
    const { route, handle } = endpoint;
    if (method !== route.method) return wrongVerbReply(name, route, method);
    if (route.body === 'refused' && body.length > 0) {
      throw new ApiError('bad-request', 'Request body must be empty');
    }
    if (route.body !== 'required') return valueReply(await handle(undefined, files));
    if (body.length === 0) throw new ApiError('bad-request', 'Request body is missing');
    route.check?.();
    return valueReply(await handle(route.decode(parseJson(body)), files));
  } catch (error) {
    return errorReply(name, error);
  }
}

/** The path of an origin-form (`/p`) or absolute-form (`http://host/p`) target, not decoded in any way. */
function pathOf(target: string): string {
  if (!target.startsWith('http://')) return target;
  const start = target.indexOf('/', 'http://'.length);
  return start === -1 ? '' : target.slice(start);
}

function checkVersion(request: IncomingMessage): void {
  if (request.httpVersion === '1.1' || request.httpVersion === '1.0') return;
  throw new ProtocolError(400, `HTTP version ${request.httpVersion} is not supported`);
}

/** What the parser found wrong with the bytes of a client; undefined for a failing socket. */
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
