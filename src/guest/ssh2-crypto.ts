import crypto, {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  type KeyPairKeyObjectResult,
} from 'node:crypto';
import type { Duplex } from 'node:stream';

/*
 * `crypto` as ssh2 gets it: a connection can choose the random numbers of its key exchange (RFC 4253, 7; RFC 8731). With the same ones and
 * the same bytes of the server, a client derives the same session keys. Padding stays random: the server's state does not depend on it.
 */

/** Random numbers of a client's key exchange. They must be used again only on a stream that no other user can read. */
export interface KeyExchangeSeed {
  /** cookie of KEXINIT, 16 bytes */
  readonly cookie: Buffer;
  /** private key of curve25519, PKCS #8 in DER */
  readonly privateKey: Buffer;
}

/** Bytes of a cookie, and its place in KEXINIT (RFC 4253, 7.1). */
const COOKIE = { at: 1, bytes: 16 } as const;

/** Creates the numbers of a new connection. */
export function createSeed(): KeyExchangeSeed {
  const { privateKey } = generateKeyPairSync('x25519');
  return {
    cookie: randomBytes(COOKIE.bytes),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }),
  };
}

/** Numbers of the connection whose bytes are processed now. */
let current: KeyExchangeSeed | undefined;

/** Calls a function that uses ssh2. Its key exchange gets the numbers of a seed; ssh2 draws them in the call itself. */
export function withSeed<T>(seed: KeyExchangeSeed | undefined, act: () => T): T {
  const before = current;
  current = seed;
  try {
    return act();
  } finally {
    current = before;
  }
}

/** Makes all that a client does with the events of a stream use a seed. */
export function seedEvents(stream: Duplex, seed: KeyExchangeSeed): void {
  const emit = stream.emit.bind(stream);
  stream.emit = (...event: Parameters<typeof emit>) => withSeed(seed, () => emit(...event));
}

/** Returns the module `crypto` for ssh2. */
export function cryptoForSsh2(): object {
  const own = { randomFillSync: fillRandom, generateKeyPairSync: generateKeys };
  return Object.assign(Object.create(crypto), own);
}

/** `crypto.randomFillSync`: ssh2 fills the cookie at this place, and padding behind it. */
function fillRandom(bytes: Buffer, offset = 0, size = bytes.length - offset): Buffer {
  if (current === undefined || offset !== COOKIE.at || size !== COOKIE.bytes)
    return crypto.randomFillSync(bytes, offset, size);
  bytes.set(current.cookie, offset);
  return bytes;
}

/** `crypto.generateKeyPairSync` of curve25519, the key exchange that is preferred; others are not repeated. */
function generateKeys(type: 'x25519'): KeyPairKeyObjectResult {
  if (current === undefined || type !== 'x25519') return generateKeyPairSync(type);
  const privateKey = createPrivateKey({ key: current.privateKey, format: 'der', type: 'pkcs8' });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}
