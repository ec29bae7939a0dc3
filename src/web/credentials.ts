import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** Secrets of one run of the VMM, and the checks of those that a client sends. */
export interface Credentials {
  /** part of the URL that the log has */
  readonly token: string;
  /** value of `Set-Cookie` for a browser that has sent the token */
  readonly setCookie: string;
  readonly isToken: (text: string) => boolean;
  /** Returns true if a `Cookie` header has the cookie of this VMM. */
  readonly hasCookie: (header: string | undefined) => boolean;
}

/** 256 bits. */
const SECRET_BYTES = 32;

/**
 * Makes the secrets. Cookies of one host are shared by its ports: `place`, the address of the page, makes the name of the cookie,
 * so that pages of several VMMs can be open at the same time.
 */
export function createCredentials(place: string): Credentials {
  const token = newSecret();
  const session = newSecret();
  const name = `nephos-${digestOf(place).toString('hex').slice(0, 12)}`;
  return {
    token,
    setCookie: `${name}=${session}; Path=/; HttpOnly; SameSite=Strict`,
    isToken: (text) => isEqual(text, token),
    hasCookie: (header) => valuesOf(name, header).some((value) => isEqual(value, session)),
  };
}

function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

/** Compares in constant time: the digests have the same length, and their first difference says nothing about the texts. */
function isEqual(given: string, secret: string): boolean {
  return timingSafeEqual(digestOf(given), digestOf(secret));
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Most cookies of a request that are compared. */
const COOKIES_MAX = 64;

function valuesOf(name: string, header = ''): string[] {
  return header
    .split(';', COOKIES_MAX)
    .map((one) => one.trim())
    .filter((one) => one.startsWith(`${name}=`))
    .map((one) => one.slice(name.length + 1));
}
