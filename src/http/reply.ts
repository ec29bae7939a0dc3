import { ApiError, errorChain } from '../api/errors.ts';
import type { ApiErrorCode } from '../api/errors.ts';
import type { Accepted, AsyncPreference, Route } from '../api/route.ts';
import { clip } from '../util/clip.ts';
import { createLog } from '../util/log.ts';
import { asciiJson } from './ascii-json.ts';

const log = createLog('http');

/** A reply before it is encoded; `body` is JSON text, or of type `contentType`. */
export interface Reply {
  readonly status: number;
  readonly body?: string | Buffer;
  /** media type of the body, where it is not JSON */
  readonly contentType?: string;
  /** the method of the path, where a request used another one */
  readonly allow?: string;
  /** further headers, names and values in turn */
  readonly headers?: readonly string[];
}

/** A fault of a request as HTTP, after which the connection cannot be used any further. */
export class ProtocolError extends Error {
  readonly status: number;

  constructor(status: 400 | 408 | 413 | 431 | 503, message: string) {
    super(message);
    this.name = 'ProtocolError';
    this.status = status;
  }
}

/** The status of each error; nothing else maps errors to status codes. */
const STATUS: Readonly<Record<ApiErrorCode, number>> = {
  'bad-request': 400,
  'invalid-config': 400,
  'no-vm': 404,
  'unknown-device': 404,
  'wrong-state': 405,
  'duplicate-id': 409,
  'unknown-operation': 404,
  'not-cancellable': 409,
  busy: 429,
  'not-supported': 501,
  failed: 500,
};

/** Makes the reply to a request that succeeded: 204 where the handler returned nothing. */
export function valueReply(value: unknown): Reply {
  return value === undefined ? { status: 204 } : { status: 200, body: jsonOf(value) };
}

/** Makes the reply to a request that is served asynchronously. */
export function acceptedReply(basePath: string, accepted: Accepted, { wait }: AsyncPreference): Reply {
  const applied = wait === undefined ? 'respond-async' : `respond-async, wait=${wait}`;
  const headers = ['Location', basePath + accepted.location, 'Preference-Applied', applied];
  return { status: 202, headers, body: asciiJson(accepted.body) };
}

/** JSON texts of frozen values, which are replies to many requests. */
const TEXTS = new WeakMap<object, string>();

/** A frozen value does not change, so its text is made once. */
function jsonOf(value: unknown): string {
  if (typeof value !== 'object' || value === null || !Object.isFrozen(value)) return asciiJson(value);
  const known = TEXTS.get(value);
  if (known !== undefined) return known;
  const text = asciiJson(value);
  TEXTS.set(value, text);
  return text;
}

/** Makes the reply to a request for a path that the API does not have. */
export function notFoundReply(path: string): Reply {
  return messagesReply(404, [`No such endpoint: ${path.slice(0, 200)}`]);
}

/** Makes the reply to a request that failed; the first message names the route. */
export function errorReply(route: string, error: unknown): Reply {
  const chain = [`${route} failed`, ...errorChain(error)];
  const known = error instanceof ApiError || error instanceof ProtocolError;
  const status = statusOf(error);
  if (!known) log.error(`${route} failed: ${error instanceof Error ? error.stack : String(error)}`);
  else if (status === 500) log.error(chain.join(': '));
  else log.info(chain.join(': '));
  return messagesReply(status, chain);
}

/** Makes the reply to a request with a method that the path does not have; `routes` are those of the path. */
export function wrongVerbReply(
  name: string,
  routes: readonly Pick<Route, 'method' | 'notAllowed'>[],
  verb: string,
): Reply {
  const methods = routes.map(({ method }) => method);
  const reply = errorReply(
    name,
    new ApiError('bad-request', `Method ${verb} is not allowed here, use ${methods.join(' or ')}`),
  );
  const isNotAllowed = routes.every(({ notAllowed }) => notAllowed?.(verb) === true);
  return isNotAllowed ? { ...reply, status: 405, allow: methods.join(', ') } : reply;
}

/** Makes the reply to bytes that are no request, or a request whose route cannot be determined. */
export function protocolReply(error: ProtocolError): Reply {
  return messagesReply(error.status, [error.message]);
}

/**
 * Returns the headers of a reply, names and values in turn. Clients of Cloud Hypervisor compare them byte by byte: this
 * order, this case, and a length wherever there is a body. `Allow` is where Cloud Hypervisor has it.
 */
export function replyHeaders(reply: Reply, connection: 'keep-alive' | 'close'): string[] {
  const headers = ['Server', 'Cloud Hypervisor API', 'Connection', connection];
  if (reply.allow !== undefined) headers.push('Allow', reply.allow);
  if (reply.body !== undefined) {
    const length = String(Buffer.byteLength(reply.body));
    headers.push('Content-Type', reply.contentType ?? 'application/json', 'Content-Length', length);
  }
  if (reply.headers !== undefined) headers.push(...reply.headers);
  return headers;
}

/** Returns the headers of a stream, names and values in turn. A stream ends with its connection. */
export function streamHeaders(contentType: string): string[] {
  return [
    ...['Server', 'Cloud Hypervisor API', 'Connection', 'close'],
    ...['Content-Type', contentType, 'Cache-Control', 'no-store'],
  ];
}

/** Encodes a reply after which the connection is closed, where `ServerResponse` cannot be used. */
export function closingReplyText(reply: Reply): string {
  const headers = replyHeaders(reply, 'close');
  let text = `HTTP/1.1 ${reply.status} \r\n`;
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return `${text}\r\n${reply.body?.toString() ?? ''}`;
}

function statusOf(error: unknown): number {
  if (error instanceof ApiError) return STATUS[error.code];
  return error instanceof ProtocolError ? error.status : 500;
}

function messagesReply(status: number, messages: readonly string[]): Reply {
  return { status, body: asciiJson(messages.map((message) => withWholeCharacters(clip(message)))) };
}

/** Replaces unpaired surrogates: a clipped text, or one that quotes a client, may have some, and strict clients refuse them. */
function withWholeCharacters(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, '\ufffd');
}
