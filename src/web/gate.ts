import type { IncomingMessage } from 'node:http';
import type { Gate } from '../http/gate.ts';
import type { Reply } from '../http/reply.ts';
import type { Credentials } from './credentials.ts';
import { isOwnOrigin, type HostCheck } from './hosts.ts';
import type { PageFiles } from './page-files.ts';

/** Rules for browsers, in every reply: own files only, no frames, no copies in caches, no URL for other sites. */
const HEADERS: Readonly<Record<string, string>> = {
  // xterm.js makes its styles at run time; scripts come from files alone
  'Content-Security-Policy':
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

/** Decisions of the gate depend on these. */
export interface GateOptions {
  readonly isAllowedHost: HostCheck;
  readonly credentials: Credentials;
  readonly files: PageFiles;
}

/**
 * Returns the gate of the page's listener. The files of the page are public, as they hold nothing of the VM. Every other request
 * needs the token or the cookie, and the own origin where a browser states one.
 */
export function createGate(options: GateOptions): Gate {
  return {
    headers: Object.entries(HEADERS).flat(),
    answer: (request) =>
      checkHost(request, options) ?? pageReply(request, options) ?? checkAccess(request, options),
  };
}

function checkHost({ headers }: IncomingMessage, { isAllowedHost }: GateOptions): Reply | undefined {
  if (isAllowedHost(headers.host)) return undefined;
  return refusal(403, 'The header Host does not name the address of this page');
}

/** Answers requests for files of the page. A URL with the token sets the cookie, and leads to one without the token. */
function pageReply(request: IncomingMessage, { credentials, files }: GateOptions): Reply | undefined {
  const { path, token } = readTarget(request);
  const file = files.get(path);
  if (file === undefined || !isSafe(request) || isUpgrade(request)) return undefined;
  if (token === undefined) return { status: 200, ...file };
  if (!credentials.isToken(token)) return unauthorized('The token in the URL is not that of this VMM');
  return {
    status: 303,
    headers: ['Location', path, 'Set-Cookie', credentials.setCookie, 'Content-Length', '0'],
  };
}

function checkAccess(request: IncomingMessage, options: GateOptions): Reply | undefined {
  return checkSite(request) ?? checkSecret(request, options);
}

/** Refuses what a page of another site sends. Programs other than browsers have no such headers. */
function checkSite({ headers }: IncomingMessage): Reply | undefined {
  const { origin, host = '', 'sec-fetch-site': site = 'none' } = headers;
  if (origin !== undefined && !isOwnOrigin(origin, host))
    return refusal(403, 'The header Origin names another site');
  if (site === 'same-origin' || site === 'none') return undefined;
  return refusal(403, 'The request comes from another site');
}

function checkSecret(request: IncomingMessage, { credentials }: GateOptions): Reply | undefined {
  const { headers } = request;
  const { token, rest } = readTarget(request);
  const given = bearerOf(headers.authorization) ?? token;
  if (given !== undefined) {
    if (!credentials.isToken(given)) return unauthorized('The token is not that of this VMM');
    // endpoints know no parameter `token`
    request.url = rest;
    return undefined;
  }
  if (!credentials.hasCookie(headers.cookie))
    return unauthorized('The request has no token: open the URL that the VMM has logged');
  // browsers send the cookie by themselves, and the origin with every change and upgrade
  if (headers.origin !== undefined || (isSafe(request) && !isUpgrade(request))) return undefined;
  return refusal(403, 'A request with the cookie needs the header Origin');
}

function isSafe({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD';
}

function isUpgrade({ headers }: IncomingMessage): boolean {
  return headers.upgrade !== undefined;
}

interface Target {
  readonly path: string;
  /** parameter `token` */
  readonly token: string | undefined;
  /** the URL without it */
  readonly rest: string;
}

function readTarget({ url = '' }: IncomingMessage): Target {
  const [path = '', query] = url.split(/\?(.*)/s, 2);
  const all = query === undefined ? [] : query.split('&');
  const others = all.filter((one) => !one.startsWith(TOKEN));
  const token = all.find((one) => one.startsWith(TOKEN))?.slice(TOKEN.length);
  return { path, token, rest: others.length === 0 ? path : `${path}?${others.join('&')}` };
}

const TOKEN = 'token=';

/** Returns the credentials of a header `Authorization` with the scheme Bearer, an empty text for another scheme. */
function bearerOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  return /^Bearer +(\S+) *$/i.exec(header)?.[1] ?? '';
}

function unauthorized(message: string): Reply {
  return { ...refusal(401, message), headers: ['WWW-Authenticate', 'Bearer'] };
}

function refusal(status: number, message: string): Reply {
  return { status, body: JSON.stringify([message]) };
}
