import { ApiError, errorChain } from '../api/errors.ts';
import type { ApiErrorCode } from '../api/errors.ts';
import type { Route } from '../api/route.ts';
import { clip } from '../util/clip.ts';
import { createLog } from '../util/log.ts';

const log = createLog('http');

/** An answer before it has become bytes; `body` is JSON text. */
export interface Reply {
  readonly status: number;
  readonly body?: string;
  /** the verb that the path has, where another one was sent */
  readonly allow?: string;
}

/** What is wrong with a request as HTTP, so that the connection cannot be used any further. */
export class ProtocolError extends Error {
  readonly status: number;

  constructor(status: 400 | 408 | 413 | 431 | 503, message: string) {
    super(message);
    this.name = 'ProtocolError';
    this.status = status;
  }
}

/** The only place that knows which status an error has. */
const STATUS: Readonly<Record<ApiErrorCode, number>> = {
  'bad-request': 400,
  'invalid-config': 400,
  'no-vm': 404,
  'unknown-device': 404,
  'wrong-state': 405,
  'duplicate-id': 409,
  busy: 429,
  'not-supported': 501,
  failed: 500,
};

/** The answer to a request that was served: what the handler gave, nothing is 204. */
export function valueReply(value: unknown): Reply {
  return value === undefined ? { status: 204 } : { status: 200, body: jsonOf(value) };
}

/** The text of values that are given again and again. */
const TEXTS = new WeakMap<object, string>();

/** What is frozen is never another value: its text is made once. */
function jsonOf(value: unknown): string {
  if (typeof value !== 'object' || value === null || !Object.isFrozen(value)) return asciiJson(value);
  const known = TEXTS.get(value);
  if (known !== undefined) return known;
  const text = asciiJson(value);
  TEXTS.set(value, text);
  return text;
}

/**
 * JSON in ASCII alone. The original's client reads 256 bytes at a time and takes each for text by itself: a character
 * of several bytes across two reads ends it.
 */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The answer to a request for a path that the API does not have. */
export function notFoundReply(path: string): Reply {
  return messagesReply(404, [`No such endpoint: ${path.slice(0, 200)}`]);
}

/** The answer to a request that could not be served, the route's name foremost. */
export function errorReply(route: string, error: unknown): Reply {
  const chain = [`${route} failed`, ...errorChain(error)];
  const known = error instanceof ApiError || error instanceof ProtocolError;
  const status = statusOf(error);
  if (!known) log.error(`${route} failed: ${error instanceof Error ? error.stack : String(error)}`);
  else if (status === 500) log.error(chain.join(': '));
  else log.info(chain.join(': '));
  return messagesReply(status, chain);
}

/** The answer to a request for a path that the API has, with a verb that it does not have there. */
export function wrongVerbReply(name: string, { method, notAllowed }: Route, verb: string): Reply {
  const reply = errorReply(
    name,
    new ApiError('bad-request', `Method ${verb} is not allowed here, use ${method}`),
  );
  return notAllowed?.(verb) === true ? { ...reply, status: 405, allow: method } : reply;
}

/** The answer to what is not a request, or not one that can be told which route it was meant for. */
export function protocolReply(error: ProtocolError): Reply {
  return messagesReply(error.status, [error.message]);
}

/**
 * The headers of an answer, names and values in turn. Clients of Cloud Hypervisor look for them byte by byte: this
 * order, this case, and a length wherever there is a body. `Allow` stands where its server has it.
 */
export function replyHeaders(reply: Reply, connection: 'keep-alive' | 'close'): string[] {
  const headers = ['Server', 'Cloud Hypervisor API', 'Connection', connection];
  if (reply.allow !== undefined) headers.push('Allow', reply.allow);
  if (reply.body !== undefined) {
    const length = String(Buffer.byteLength(reply.body));
    headers.push('Content-Type', 'application/json', 'Content-Length', length);
  }
  return headers;
}

/** The bytes of an answer after which the connection is closed, for where `ServerResponse` cannot be used. */
export function closingReplyText(reply: Reply): string {
  const headers = replyHeaders(reply, 'close');
  let text = `HTTP/1.1 ${reply.status} \r\n`;
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return `${text}\r\n${reply.body ?? ''}`;
}

function statusOf(error: unknown): number {
  if (error instanceof ApiError) return STATUS[error.code];
  return error instanceof ProtocolError ? error.status : 500;
}

function messagesReply(status: number, messages: readonly string[]): Reply {
  return { status, body: asciiJson(messages.map((message) => withWholeCharacters(clip(message)))) };
}

/** A text that was cut, or that quotes what a client sent, may have half of a pair of UTF-16: strict clients refuse it. */
function withWholeCharacters(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, '\ufffd');
}
