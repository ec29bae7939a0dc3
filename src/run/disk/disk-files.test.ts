import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspectDiskImage } from '../../host/disk/disk-image.ts';
import { iso9660Image } from './iso9660.ts';
import { generateSshKeyPair } from './key-pair.ts';
import { qcow2Overlay } from './qcow2-overlay.ts';

/** Reads the root directory of an ISO 9660 image: ECMA-119, 8.4 and 9.1. */
function filesOf(image: Buffer): Map<string, string> {
  const block = (number: number): Buffer => image.subarray(number * 2048);
  const primary = block(16);
  assert.equal(primary.toString('latin1', 0, 7), '\u0001CD001\u0001');
  assert.equal(primary.readUInt32LE(80) * 2048, image.length);
  const root = block(primary.readUInt32LE(156 + 2));
  const files = new Map<string, string>();
  for (let at = 0; root.readUInt8(at) > 0; at += root.readUInt8(at)) {
    const record = root.subarray(at);
    assert.equal(record.readUInt32LE(2), record.readUInt32BE(6));
    const name = record.toString('latin1', 33, 33 + record.readUInt8(32));
    const isDirectory = (record.readUInt8(25) & 2) !== 0;
    if (!isDirectory)
      files.set(name, block(record.readUInt32LE(2)).toString('utf8', 0, record.readUInt32LE(10)));
  }
  return files;
}

test('a seed disk has its label and its files', () => {
  const files = { 'user-data': '#cloud-config\n', 'meta-data': 'ü'.repeat(3000), empty: '', z: 'z' };
  const image = iso9660Image(
    'cidata',
    Object.entries(files).map(([name, content]) => ({ name, content })),
  );
  assert.equal(image.toString('latin1', 16 * 2048 + 40, 16 * 2048 + 72), 'cidata'.padEnd(32));
  assert.deepEqual(Object.fromEntries(filesOf(image)), files);
});

test('a seed disk with too long a label or too many names is refused', () => {
  assert.throws(() => iso9660Image('x'.repeat(33), []), RangeError);
  const many = Array.from({ length: 60 }, (_, i) => ({ name: `file-${i}`, content: '' }));
  assert.throws(() => iso9660Image('x', many), RangeError);
});

test('an overlay has the size of its backing file, and names it with its format', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-overlay-'));
  try {
    const path = join(folder, 'a "b", ü.raw');
    writeFileSync(path, '');
    const bytes = 600 * 2 ** 30;
    truncateSync(path, bytes);
    const overlay = join(folder, 'overlay');
    writeFileSync(overlay, qcow2Overlay(bytes, { path, format: 'Raw' }));
    const found = await inspectDiskImage({
      path: overlay,
      format: 'Qcow2',
      readonly: false,
      direct: false,
      anyBackingFile: false,
      ioUring: false,
      rawImages: new Set(),
    });
    assert.equal(found.bytes, bytes);
    assert.deepEqual(
      found.layers.map((layer) => layer.path),
      [overlay, path],
    );
    assert.deepEqual(found.guessed, []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('an overlay of a path or a size beyond the format is refused', () => {
  assert.throws(() => qcow2Overlay(512, { path: `/${'x'.repeat(1023)}`, format: 'Raw' }), RangeError);
  assert.throws(() => qcow2Overlay(2 ** 62, { path: '/x', format: 'Raw' }), RangeError);
});

/** Reads the strings of a blob (RFC 4251, 5). */
function stringsOf(blob: Buffer): Buffer[] {
  const strings: Buffer[] = [];
  for (let at = 0; at + 4 <= blob.length;) {
    const end = at + 4 + blob.readUInt32BE(at);
    strings.push(blob.subarray(at + 4, end));
    at = end;
  }
  return strings;
}

test('a key pair: the private key signs, the public key verifies, the file has both', async () => {
  const { privateKey, publicKey } = await generateSshKeyPair('nephos a');
  const [type, blob = '', ...comment] = publicKey.split(' ');
  assert.deepEqual([type, comment.join(' ')], ['ssh-ed25519', 'nephos a']);
  const file = Buffer.from(privateKey.replaceAll(/-----[^-]*-----|\n/g, ''), 'base64');
  const magic = 'openssh-key-v1\0';
  assert.equal(file.toString('latin1', 0, magic.length), magic);
  const [cipher, kdf] = stringsOf(file.subarray(magic.length));
  assert.deepEqual([cipher?.toString(), kdf?.toString()], ['none', 'none']);
  // behind two strings of four bytes, an empty one, and the number of keys
  const body = file.subarray(magic.length + 24);
  const [written = Buffer.alloc(0), secret = Buffer.alloc(0)] = stringsOf(body);
  assert.equal(written.toString('base64'), blob);
  assert.equal(secret.length % 8, 0);
  assert.equal(secret.readUInt32BE(0), secret.readUInt32BE(4));
  const [, pub = Buffer.alloc(0), both = Buffer.alloc(0), name] = stringsOf(secret.subarray(8));
  assert.equal(name?.toString(), 'nephos a');
  const [d, x] = [both.subarray(0, 32), both.subarray(32)];
  assert.ok(x.equals(pub));
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: x.toString('base64url') };
  const data = Buffer.from('data');
  const key = createPrivateKey({ key: { ...jwk, d: d.toString('base64url') }, format: 'jwk' });
  assert.ok(verify(null, data, createPublicKey({ key: jwk, format: 'jwk' }), sign(null, data, key)));
});
