import { createHash } from 'node:crypto';

/*
 * Digests of the OCI image specification (descriptors, digests): `sha256:<64 hex>` or `sha512:<128 hex>`, in lower case. A valid
 * digest is safe as a part of a path.
 */

/** Name of an algorithm, as Node's crypto has it. */
export type DigestAlgorithm = 'sha256' | 'sha512';

/** Parts of a valid digest. */
export interface Digest {
  readonly algorithm: DigestAlgorithm;
  readonly hex: string;
}

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Returns whether a text is a digest of a supported algorithm. */
export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** Returns the parts of a digest; undefined where the text is none. */
export function parseDigest(text: string): Digest | undefined {
  if (!isDigest(text)) return undefined;
  return { algorithm: text.startsWith('sha256:') ? 'sha256' : 'sha512', hex: text.slice(7) };
}

/** Returns the SHA-256 digest of bytes. */
export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Returns whether bytes have a digest of any supported algorithm. */
export function hasDigest(bytes: Uint8Array, digest: string): boolean {
  const parts = parseDigest(digest);
  return parts !== undefined && createHash(parts.algorithm).update(bytes).digest('hex') === parts.hex;
}
