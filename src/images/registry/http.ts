import { Agent, request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as TlsAgent, request as requestHttps } from 'node:https';
import type { Socket } from 'node:net';
import { connect as connectTls, type SecureContext } from 'node:tls';
import { createTlsContext } from './certificates.ts';
import { proxyFor } from './proxy.ts';

/*
 * HTTP of registries: one request, one answer. Redirects, authorization and retries are in client.ts.
 *
 * Invariants: the wait for the header of an answer has a deadline; a body has a least rate; the caller bounds its length. Bodies are
 * not decoded.
 */

/** Time limits in milliseconds, and the least rate of a body. */
export interface HttpLimits {
  /** from the start of the connection to the header of the answer */
  readonly answerMs: number;
  /** wait for `stallBytes` of a body */
  readonly stallMs: number;
  readonly stallBytes: number;
}

/** Limits for registries: slow lines are usable, a server that sends nothing is not. */
export const HTTP_LIMITS: HttpLimits = { answerMs: 30_000, stallMs: 30_000, stallBytes: 32 * 2 ** 10 };

/** A request. */
export interface HttpRequest {
  readonly url: URL;
  readonly method?: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal | undefined;
}

/** An answer. Its body must be read or destroyed. */
export type HttpReply = IncomingMessage;

/** A failure of the network, of TLS or by a time limit. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
}

/** Sends requests over connections that are used again. */
export interface HttpClient extends Disposable {
  /** Rejects with HttpError, or with the reason of the signal. */
  readonly send: (request: HttpRequest) => Promise<HttpReply>;
  /** Yields the body of an answer. @throws HttpError where it stalls or is cut */
  readonly readBody: (reply: HttpReply) => AsyncGenerator<Buffer>;
}

/** Most connections to one host. */
const CONNECTIONS = 6;

/** Makes a client. Its connections close when it is disposed of. */
export function createHttpClient(limits: HttpLimits = HTTP_LIMITS): HttpClient {
  const options = { keepAlive: true, maxSockets: CONNECTIONS };
  const plain = new Agent(options);
  const secure = new Map<string, TlsHost>();
  const tlsHost = async (host: string): Promise<TlsHost> => {
    const found = secure.get(host);
    if (found !== undefined) return found;
    const secureContext = await createTlsContext(host);
    const made = { secureContext, agent: new TlsAgent({ ...options, secureContext }) };
    secure.set(host, made);
    return made;
  };
  return {
    send: async (request) => {
      request.signal?.throwIfAborted();
      const deadline = new AbortController();
      const timer = setTimeout(() => deadline.abort(), limits.answerMs);
      const signal = anySignal(deadline.signal, request.signal);
      try {
        return await answerTo(await startRequest({ ...request, signal }, { plain, tlsHost }), request.body);
      } catch (cause) {
        request.signal?.throwIfAborted();
        const reason = deadline.signal.aborted
          ? `does not answer within ${limits.answerMs / 1000} s`
          : reasonOfNetwork(cause);
        throw new HttpError(`${request.url.host} ${reason}`, { cause });
      } finally {
        clearTimeout(timer);
      }
    },
    readBody: (reply) => readBody(reply, limits),
    [Symbol.dispose]: () => {
      plain.destroy();
      for (const { agent } of secure.values()) agent.destroy();
    },
  };
}

function anySignal(one: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? one : AbortSignal.any([one, other]);
}

/** Certificates and connections of one host. */
interface TlsHost {
  readonly secureContext: SecureContext;
  readonly agent: TlsAgent;
}

interface Connections {
  readonly plain: Agent;
  readonly tlsHost: (host: string) => Promise<TlsHost>;
}

type SignalledRequest = HttpRequest & { readonly signal: AbortSignal };

async function startRequest(
  { url, method = 'GET', headers, signal }: SignalledRequest,
  { plain, tlsHost }: Connections,
): Promise<ClientRequest> {
  const proxy = proxyFor(url);
  const own = {
    method,
    headers: { 'Accept-Encoding': 'identity', 'User-Agent': 'nephos', ...headers },
    signal,
  };
  if (url.protocol === 'http:') {
    if (proxy === undefined) return requestHttp(url, { ...own, agent: plain });
    return requestHttp(proxy, {
      ...own,
      headers: { ...own.headers, Host: url.host, ...proxyAuthorization(proxy) },
      path: url.href,
      agent: plain,
    });
  }
  const { secureContext, agent } = await tlsHost(url.host);
  if (proxy === undefined) return requestHttps(url, { ...own, agent });
  const tunnel = await openTunnel(proxy, url, signal);
  const servername = url.hostname;
  const createConnection = (): Socket => connectTls({ socket: tunnel, servername, secureContext });
  // with an agent, Node connects by itself
  return requestHttps(url, { ...own, createConnection });
}

function openTunnel(proxy: URL, url: URL, signal: AbortSignal): Promise<Socket> {
  const target = `${url.hostname}:${url.port || '443'}`;
  const headers = { Host: target, ...proxyAuthorization(proxy) };
  return new Promise((resolve, reject) => {
    const request = requestHttp(proxy, { method: 'CONNECT', path: target, headers, signal, agent: false });
    request.once('connect', (reply, socket) => {
      if (reply.statusCode === 200) {
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(new HttpError(`its proxy ${proxy.host} answers ${reply.statusCode ?? 0}`));
    });
    request.on('response', (reply) => {
      reply.destroy();
      reject(new HttpError(`its proxy ${proxy.host} answers ${reply.statusCode ?? 0}`));
    });
    request.on('error', reject);
    request.end();
  });
}

function proxyAuthorization({ username, password }: URL): Record<string, string> {
  if (username === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'Proxy-Authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}

function answerTo(request: ClientRequest, body: string | undefined): Promise<HttpReply> {
  return new Promise((resolve, reject) => {
    request.once('response', (reply) => {
      // the signal of the deadline must not end the body; an error before its first read is that of the read
      reply.on('error', () => undefined);
      resolve(reply);
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function* readBody(body: IncomingMessage, limits: HttpLimits): AsyncGenerator<Buffer> {
  const { stallMs, stallBytes } = limits;
  const stalled = (): HttpError =>
    new HttpError(`sends less than ${stallBytes} bytes in ${stallMs / 1000} s`);
  const iterator = body[Symbol.asyncIterator]();
  let [waitedMs, received] = [0, 0];
  try {
    for (;;) {
      const start = performance.now();
      // the time of a slow reader does not count
      const timer = setTimeout(() => body.destroy(stalled()), Math.max(1, stallMs - waitedMs));
      const result = await iterator.next().finally(() => clearTimeout(timer));
      if (result.done === true) return;
      const piece = Buffer.from(result.value);
      waitedMs += performance.now() - start;
      received += piece.length;
      if (received >= stallBytes) [waitedMs, received] = [0, 0];
      yield piece;
    }
  } catch (cause) {
    if (cause instanceof HttpError) throw cause;
    throw new HttpError(`closes the connection within an answer`, { cause });
  } finally {
    body.destroy();
  }
}

const NETWORK_REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'is not known: its name has no address',
  EAI_AGAIN: 'is not known: the name server does not answer',
  ECONNREFUSED: 'refuses the connection',
  ECONNRESET: 'closes the connection',
  EPIPE: 'closes the connection',
  ETIMEDOUT: 'does not answer',
  EHOSTUNREACH: 'cannot be reached',
  ENETUNREACH: 'cannot be reached',
};

function reasonOfNetwork(cause: unknown): string {
  if (cause instanceof HttpError) return cause.message;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const known = NETWORK_REASONS[code];
  if (known !== undefined) return known;
  return `fails: ${cause instanceof Error ? cause.message.slice(0, 300).trim() : String(cause)}`;
}
