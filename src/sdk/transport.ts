import { request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { connectWithDescriptors } from './descriptor-connection.ts';

/**
 * Reason why a request has no answer.
 *
 * - `connect`: no process listens at the path, or access is denied
 * - `io`: the connection closed before the answer was complete
 * - `protocol`: the answer is not HTTP
 * - `timeout`: the time limit expired
 * - `aborted`: the caller's signal fired
 */
export type TransportFault = 'connect' | 'io' | 'protocol' | 'timeout' | 'aborted';

/** A request without an answer. The message names the request and the socket; the cause has the reason. */
export class TransportError extends Error {
  readonly fault: TransportFault;
  readonly socketPath: string;

  constructor(fault: TransportFault, request: ApiRequest, cause: unknown) {
    const what = `${request.method} ${request.path} on ${request.socketPath}`;
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`${what} failed: ${reason}`, { cause });
    this.name = 'TransportError';
    this.fault = fault;
    this.socketPath = request.socketPath;
  }
}

/** A request to the API on a UNIX socket. */
export interface ApiRequest {
  readonly socketPath: string;
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /** Full path, e.g. `/api/v1/vm.info` */
  readonly path: string;
  /** JSON text, sent unchanged */
  readonly body?: string | Buffer;
  /** Open descriptors to send with the request; the caller closes them */
  readonly fds?: readonly number[];
  /** Preference (RFC 7240) */
  readonly prefer?: string;
  readonly signal?: AbortSignal;
  /** Time from the start of the connection to the end of the answer, in `milliseconds`; no limit by default */
  readonly timeoutMs?: number;
}

/** An answer of any status. There is no `body` if the server sent none. */
export interface ApiResponse {
  readonly status: number;
  readonly body?: string;
  /** header `Location` */
  readonly location?: string;
}

/** Sends a request on a connection of its own. Rejects with `TransportError` only. */
export async function sendRequest(request: ApiRequest): Promise<ApiResponse> {
  const { answer, fail } = begin(request);
  try {
    return await readResponse(await answer);
  } catch (cause) {
    throw fail(cause);
  }
}

/** An answer that comes in parts, each a text. The parts end with the answer, or throw `TransportError`. */
export interface ApiStream {
  readonly status: number;
  readonly parts: AsyncGenerator<string, void, undefined>;
}

/** Sends a request, and returns its answer once the head has arrived. Rejects with `TransportError` only. */
export async function openStream(request: ApiRequest): Promise<ApiStream> {
  const { answer, fail } = begin(request);
  try {
    const incoming = await answer;
    return { status: incoming.statusCode ?? 0, parts: partsOf(incoming, fail) };
  } catch (cause) {
    throw fail(cause);
  }
}

async function* partsOf(incoming: IncomingMessage, fail: Begun['fail']): ApiStream['parts'] {
  incoming.setEncoding('utf8');
  try {
    for await (const part of incoming) yield String(part);
  } catch (cause) {
    throw fail(cause);
  }
}

/** A request that was sent. */
interface Begun {
  readonly answer: Promise<IncomingMessage>;
  /** Returns the error for a failure of the request or of its answer. */
  readonly fail: (cause: unknown) => TransportError;
}

function begin(request: ApiRequest): Begun {
  const limit = request.timeoutMs === undefined ? undefined : AbortSignal.timeout(request.timeoutMs);
  const signals = [request.signal, limit].filter((signal) => signal !== undefined);
  const { socketPath, fds = [] } = request;
  let connected = false;
  const open = async (): Promise<IncomingMessage> => {
    signals.forEach((signal) => signal.throwIfAborted());
    const outgoing = httpRequest({
      socketPath,
      // with an agent, Node connects by itself
      ...(fds.length > 0
        ? { createConnection: () => connectWithDescriptors(socketPath, fds) }
        : { agent: false }),
      method: request.method,
      path: request.path,
      headers: requestHeaders(request),
      ...(signals.length > 0 && { signal: AbortSignal.any(signals) }),
    });
    outgoing.once('socket', (socket) => socket.once('connect', () => (connected = true)));
    return responseTo(outgoing, request.body);
  };
  return {
    answer: open(),
    fail: (cause) => new TransportError(faultOf(cause, connected, [request.signal, limit]), request, cause),
  };
}

function requestHeaders({ body, prefer }: ApiRequest): Record<string, string> {
  const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) };
  const preference = prefer === undefined ? {} : { Prefer: prefer };
  return { Host: 'localhost', Accept: '*/*', ...preference, ...length };
}

function responseTo(outgoing: ClientRequest, body: ApiRequest['body']): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once('response', resolve);
    // stays installed: after the answer, an error of the rest of the request is ignored
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Reads an answer. Cloud Hypervisor sends an answer without body without a length and keeps the connection open. */
async function readResponse(incoming: IncomingMessage): Promise<ApiResponse> {
  const status = incoming.statusCode ?? 0;
  const { 'content-length': length, 'transfer-encoding': encoding, location } = incoming.headers;
  if (length === undefined && encoding === undefined) {
    incoming.destroy();
    return { status };
  }
  incoming.setEncoding('utf8');
  let body = '';
  for await (const chunk of incoming) body += String(chunk);
  return { status, body, ...(location !== undefined && { location }) };
}

function faultOf(
  cause: unknown,
  connected: boolean,
  [signal, limit]: readonly (AbortSignal | undefined)[],
): TransportFault {
  if (signal?.aborted === true) return 'aborted';
  if (limit?.aborted === true) return 'timeout';
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (code.startsWith('HPE_')) return 'protocol';
  return connected ? 'io' : 'connect';
}
