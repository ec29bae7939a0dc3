import * as v from 'valibot';
import type { Credentials } from './credentials.ts';
import type { Challenge } from './challenge.ts';

/*
 * Tokens of registries (distribution/docs: token authentication, OAuth2): a challenge names the server that issues them.
 */

/** A request for a token. */
export interface TokenRequest {
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Makes the request for a token to pull one repository; undefined for a challenge without the URL of a server. */
export function tokenRequest(
  challenge: Challenge,
  repository: string,
  credentials: Credentials | undefined,
): TokenRequest | undefined {
  const realm = challenge.parameters.get('realm') ?? '';
  if (!URL.canParse(realm)) return undefined;
  const url = new URL(realm);
  const service = challenge.parameters.get('service') ?? '';
  // the scope of the challenge is not used: a registry cannot ask for more than Nephos needs
  const scope = `repository:${repository}:pull`;
  if (credentials?.kind === 'token') {
    const body = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'nephos',
      service,
      scope,
      refresh_token: credentials.token,
    });
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    return { url, method: 'POST', headers, body: body.toString() };
  }
  if (service !== '') url.searchParams.set('service', service);
  url.searchParams.append('scope', scope);
  return {
    url,
    method: 'GET',
    headers: credentials === undefined ? {} : { Authorization: basic(credentials) },
  };
}

/** Returns the value of `Authorization` for a name and a password. */
export function basic({
  username,
  password,
}: {
  readonly username: string;
  readonly password: string;
}): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

const replySchema = v.object({ token: v.nullish(v.string()), access_token: v.nullish(v.string()) });

/** Decodes the answer of a token server. @returns undefined where it has no token */
export function decodeToken(bytes: Buffer): string | undefined {
  try {
    const result = v.safeParse(replySchema, JSON.parse(bytes.toString('utf8')));
    const token = result.success ? result.output.token || result.output.access_token : undefined;
    // anything else could end the header
    return token != null && /^[\x21-\x7e]+$/.test(token) ? token : undefined;
  } catch {
    return undefined;
  }
}
