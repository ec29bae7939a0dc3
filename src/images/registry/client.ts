import { ImageError, type ImageFault } from '../image-error.ts';
import { DEFAULT_REGISTRY, type Reference } from '../reference.ts';
import { parseChallenges } from './challenge.ts';
import type { FoundCredentials } from './credentials.ts';
import { findCredentials } from './docker-config.ts';
import { createHttpClient, HttpError, type HttpClient, type HttpLimits, type HttpReply } from './http.ts';
import { isLoopback } from './proxy.ts';
import { basic, decodeToken, tokenRequest, type TokenRequest } from './token.ts';

/*
 * A client of one repository (distribution specification 1.1). Each request is authorized as the registry asks, and redirects are
 * followed.
 *
 * Invariants: credentials and tokens are sent to the registry, and to the token server that it names; never behind a redirect to another
 * origin. HTTPS only, unless the registry is on this machine or the user lists it as insecure.
 */

/** Options of a client. */
export interface RegistryOptions {
  /** Registries (`host` or `host:port`) that may be used without TLS; those of NEPHOS_INSECURE_REGISTRIES by default */
  readonly insecure?: readonly string[];
  readonly limits?: HttpLimits;
  readonly signal?: AbortSignal | undefined;
}

/** A client of one repository. */
export interface RegistryClient extends Disposable {
  /** Requests a path below `/v2/<repository>/`. @returns an answer with status 200, 206 or 416; @throws RegistryError */
  readonly get: (path: string, headers: Readonly<Record<string, string>>) => Promise<HttpReply>;
  /** Yields the body of an answer. @throws HttpError */
  readonly readBody: HttpClient['readBody'];
}

/** A request that failed. */
export class RegistryError extends ImageError {
  /** Another attempt may succeed */
  readonly isTemporary: boolean;
  /** Time in milliseconds that the server asks to wait */
  readonly retryAfterMs: number | undefined;

  constructor(
    fault: ImageFault,
    image: string,
    reason: string,
    options: ErrorOptions & {
      readonly isTemporary?: boolean;
      readonly retryAfterMs?: number | undefined;
    } = {},
  ) {
    super(fault, image, reason, options);
    this.isTemporary = options.isTemporary ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}

const REDIRECTS_MAX = 10;

/** Most bytes of an error or of a token. */
const SMALL_BODY_MAX = 256 * 2 ** 10;

/** Values that the steps of a request share. */
interface Context {
  readonly image: string;
  readonly reference: Reference;
  origin: URL;
  /** TLS is tried first, also where a registry may be used without */
  chosen: Promise<URL> | undefined;
  readonly http: HttpClient;
  readonly signal: AbortSignal | undefined;
  /** value of `Authorization` that the registry accepted last */
  authorization: string | undefined;
  found: FoundCredentials;
}

/** Makes a client for the repository of a reference. `image` is the name for messages. */
export function createRegistryClient(
  image: string,
  reference: Reference,
  { insecure = insecureRegistries(), limits, signal }: RegistryOptions = {},
): RegistryClient {
  const http = createHttpClient(limits);
  const origin = originOf(reference.domain, insecure);
  const context: Context = {
    image,
    reference,
    origin,
    chosen: undefined,
    http,
    signal,
    authorization: undefined,
    found: {},
  };
  return {
    get: (path, headers) => getAuthorized(context, path, headers),
    readBody: http.readBody,
    [Symbol.dispose]: () => http[Symbol.dispose](),
  };
}

function insecureRegistries(): string[] {
  return (process.env['NEPHOS_INSECURE_REGISTRIES'] ?? '').split(/[\s,]+/).filter((one) => one !== '');
}

function originOf(domain: string, insecure: readonly string[]): URL {
  const host = domain === DEFAULT_REGISTRY.name ? DEFAULT_REGISTRY.host : domain;
  const secure = new URL(`https://${host}`);
  const isPlain = insecure.includes(domain) || isLoopback(secure.hostname);
  return isPlain ? new URL(`http://${host}`) : secure;
}

/** Tries TLS where a registry may be used without it. Only an answer that is not of TLS leads to HTTP. */
async function chooseOrigin({ image, origin, http, signal }: Context): Promise<URL> {
  if (origin.protocol === 'https:') return origin;
  const secure = new URL(`https://${origin.host}/`);
  try {
    (await http.send({ url: new URL('/v2/', secure), headers: {}, signal })).destroy();
    return secure;
  } catch (cause) {
    if (!(cause instanceof HttpError)) throw cause;
    if (!/certificate/i.test(cause.message)) return origin;
    throw new RegistryError('unreachable', image, `${cause.message}${remedyFor(cause, secure)}`, { cause });
  }
}

async function getAuthorized(
  context: Context,
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<HttpReply> {
  context.origin = await (context.chosen ??= chooseOrigin(context));
  const url = new URL(`/v2/${context.reference.repository}/${path}`, context.origin);
  const first = await follow(context, url, headers);
  if (first.reply.statusCode !== 401 || !first.isOwn) return checkStatus(context, first);
  const challenges = first.reply.headers['www-authenticate'] ?? '';
  first.reply.destroy();
  context.authorization = await authorize(context, challenges);
  return checkStatus(context, await follow(context, url, headers));
}

interface Followed {
  readonly reply: HttpReply;
  /** the answer is of the registry itself, not of a host that it redirects to */
  readonly isOwn: boolean;
}

async function follow(
  context: Context,
  start: URL,
  headers: Readonly<Record<string, string>>,
): Promise<Followed> {
  let url = start;
  for (let count = 0; count <= REDIRECTS_MAX; count++) {
    const isOwn = url.origin === context.origin.origin;
    const authorization = isOwn ? context.authorization : undefined;
    const reply = await send(context, {
      url,
      headers: { ...headers, ...(authorization === undefined ? {} : { Authorization: authorization }) },
    });
    const { location } = reply.headers;
    if (![301, 302, 303, 307, 308].includes(reply.statusCode ?? 0) || location === undefined)
      return { reply, isOwn };
    reply.destroy();
    url = redirected(context, url, location);
  }
  throw new RegistryError(
    'unreachable',
    context.image,
    `${start.host} redirects more than ${REDIRECTS_MAX} times`,
  );
}

function redirected(context: Context, from: URL, location: string): URL {
  if (!URL.canParse(location, from.href))
    throw new RegistryError(
      'invalid',
      context.image,
      `${from.host} redirects to an address that is not a URL`,
    );
  const url = new URL(location, from);
  checkScheme(context, url, 'redirects');
  return url;
}

/** Refuses other schemes, and HTTP behind a registry with HTTPS. */
function checkScheme({ image, origin }: Context, url: URL, act: string): void {
  if (url.protocol === 'https:' || (url.protocol === 'http:' && origin.protocol === 'http:')) return;
  const reason = `${origin.host} ${act} to ${url.protocol}//${url.host}, which is not HTTPS`;
  throw new RegistryError('invalid', image, reason);
}

async function send(
  { image, origin, http, signal }: Context,
  request: Omit<TokenRequest, 'method'> & { readonly method?: 'GET' | 'POST' },
): Promise<HttpReply> {
  try {
    return await http.send({ ...request, signal });
  } catch (cause) {
    if (!(cause instanceof HttpError)) throw cause;
    const reason = `${cause.message}${remedyFor(cause, origin)}`;
    throw new RegistryError('unreachable', image, reason, { cause, isTemporary: isTemporary(cause) });
  }
}

/** Faults of names and certificates stay the same. */
function isTemporary(error: HttpError): boolean {
  return !/is not known: its name|certificate|wrong version number|proxy/i.test(error.message);
}

function remedyFor({ message }: HttpError, { host }: URL): string {
  if (/wrong version number|packet length too long/i.test(message))
    return `; it does not use TLS: set NEPHOS_INSECURE_REGISTRIES=${host} if you trust the network`;
  if (/certificate/i.test(message))
    return `; put the certificate of its authority into /etc/docker/certs.d/${host}/ca.crt`;
  return '';
}

/** @returns the value of `Authorization` that the challenges ask for */
async function authorize(context: Context, header: string): Promise<string> {
  const { image, reference, origin, signal } = context;
  context.found = await findCredentials(reference, signal);
  const { credentials } = context.found;
  const challenges = parseChallenges(header);
  const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
  if (bearer !== undefined) {
    const request = tokenRequest(bearer, reference.repository, credentials);
    if (request !== undefined) return `Bearer ${await fetchToken(context, request)}`;
  }
  if (challenges.every(({ scheme }) => scheme !== 'basic'))
    throw new RegistryError('denied', image, `${origin.host} asks for a login of an unknown kind`);
  if (credentials?.kind !== 'password') throw denied(context, 'needs a login');
  return basic(credentials);
}

async function fetchToken(context: Context, request: TokenRequest): Promise<string> {
  const { image, http } = context;
  checkScheme(context, request.url, 'sends the login');
  const reply = await send(context, request);
  const status = reply.statusCode ?? 0;
  const bytes = await readSmall(http, reply);
  if (status === 401 || status === 403) throw denied(context, 'refuses the login');
  const token = status === 200 ? decodeToken(bytes) : undefined;
  if (token !== undefined) return token;
  const reason = `the token server ${request.url.host} answers ${status} without a token`;
  throw new RegistryError('unreachable', image, reason, { isTemporary: status === 429 || status >= 500 });
}

async function readSmall(http: HttpClient, reply: HttpReply): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of http.readBody(reply)) {
    pieces.push(piece);
    length += piece.length;
    if (length > SMALL_BODY_MAX) break;
  }
  return Buffer.concat(pieces);
}

function denied({ image, origin, reference, found }: Context, reason: string): RegistryError {
  const failure = found.failure === undefined ? '' : ` (${found.failure})`;
  const remedy = `the image does not exist, or needs docker login ${reference.domain}`;
  return new RegistryError('denied', image, `${origin.host} ${reason}${failure}; ${remedy}`);
}

/** 416: the caller asked for a range that the server does not have. */
const PASSED = [200, 206, 416];

function checkStatus(context: Context, { reply, isOwn }: Followed): HttpReply {
  const status = reply.statusCode ?? 0;
  if (PASSED.includes(status)) return reply;
  reply.destroy();
  throw statusError(context, status, { isOwn, retryAfterMs: retryAfter(reply.headers['retry-after']) });
}

interface Answer {
  readonly isOwn: boolean;
  readonly retryAfterMs: number | undefined;
}

function statusError(context: Context, status: number, { isOwn, retryAfterMs }: Answer): RegistryError {
  const { image, origin } = context;
  if (status === 404) return new RegistryError('not-found', image, `${origin.host} has no such image`);
  if (status === 401 || status === 403) {
    if (isOwn) return denied(context, 'denies access');
    // an address that a registry redirects to expires
    const reason = `the storage of ${origin.host} answers ${status}`;
    return new RegistryError('unreachable', image, reason, { isTemporary: true });
  }
  const isTemporary = status === 429 || status === 408 || status >= 500;
  const remedy =
    status === 429 ? `; it limits requests: try later, or docker login ${context.reference.domain}` : '';
  const reason = `${origin.host} answers ${status}${remedy}`;
  return new RegistryError('unreachable', image, reason, { isTemporary, retryAfterMs });
}

/** Longest wait that a server can ask for, in milliseconds. */
const RETRY_AFTER_MAX_MS = 60_000;

function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined || !/^\d{1,9}$/.test(value)) return undefined;
  return Math.min(Number(value) * 1000, RETRY_AFTER_MAX_MS);
}
