import { generateKeyPair, randomBytes, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';

/** An Ed25519 key pair for SSH. */
export interface SshKeyPair {
  /** File of OpenSSH's format (PROTOCOL.key), without a passphrase */
  readonly privateKey: string;
  /** Line of authorized_keys without a newline: type, key, comment */
  readonly publicKey: string;
}

const TYPE = 'ssh-ed25519';

/** Cipher block size of a key without encryption, in bytes (PROTOCOL.key). */
const BLOCK = 8;

/** Length of a line of base64, in characters, as `ssh-keygen` writes it. */
const LINE = 70;

/** Generates a key pair. `comment` names it, e.g. in `ssh-add -l`. */
export async function generateSshKeyPair(comment: string): Promise<SshKeyPair> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)('ed25519');
  const pub = bytesOf(publicKey, 'x');
  const blob = Buffer.concat([text(TYPE), text(pub)]);
  // twice the same random number: a reader checks that both are equal
  const check = randomBytes(4);
  const secret = Buffer.concat([bytesOf(privateKey, 'd'), pub]);
  const body = Buffer.concat([check, check, blob, text(secret), text(comment)]);
  const padding = Buffer.from(
    Array.from({ length: (BLOCK - (body.length % BLOCK)) % BLOCK }, (_, i) => i + 1),
  );
  const key = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    // cipher, key derivation and its options; one key
    ...[text('none'), text('none'), text(''), uint32(1)],
    ...[text(blob), text(Buffer.concat([body, padding]))],
  ]);
  const lines = key.toString('base64').match(new RegExp(`.{1,${LINE}}`, 'g')) ?? [];
  return {
    privateKey: [
      '-----BEGIN OPENSSH PRIVATE KEY-----',
      ...lines,
      '-----END OPENSSH PRIVATE KEY-----',
      '',
    ].join('\n'),
    publicKey: `${TYPE} ${blob.toString('base64')} ${comment}`,
  };
}

function bytesOf(key: KeyObject, member: 'x' | 'd'): Buffer {
  return Buffer.from(key.export({ format: 'jwk' })[member] ?? '', 'base64url');
}

/** A string of the SSH protocol (RFC 4251, 5). */
function text(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
