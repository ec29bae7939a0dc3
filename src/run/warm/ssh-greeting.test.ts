import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { greetingLength, recordGreeting } from './ssh-greeting.ts';

const BANNER = 'SSH-2.0-dropbear_2022.83\r\n';

/** An identification line and a packet of `length` bytes with the given message number. */
function greeting(length = 12, message = 20): Buffer {
  const packet = Buffer.alloc(4 + length);
  packet.writeUInt32BE(length);
  packet[5] = message;
  return Buffer.concat([Buffer.from(BANNER), packet]);
}

test('the length of a greeting is known when all its bytes are there', () => {
  const whole = greeting();
  for (let i = 0; i < whole.length; i++) assert.equal(greetingLength(whole.subarray(0, i)), undefined);
  assert.equal(greetingLength(whole), whole.length);
  assert.equal(greetingLength(Buffer.concat([whole, Buffer.from('more')])), whole.length);
});

test('other bytes than a greeting are refused', () => {
  for (const [bytes, message] of [
    [Buffer.from('login: '), /no.* SSH banner|does not send an SSH banner/],
    [Buffer.from(`SSH-2.0-${'x'.repeat(300)}`), /too long/],
    [greeting(12, 21), /no KEXINIT/],
    [greeting(40_000), /no KEXINIT/],
  ] as const) {
    assert.throws(() => greetingLength(bytes), message);
  }
});

test('a greeting in parts is recorded, and stays in the stream', async () => {
  const stream = new PassThrough();
  const recorded = recordGreeting(stream, AbortSignal.timeout(5000));
  const whole = greeting();
  for (const byte of whole) {
    stream.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  assert.deepEqual(await recorded, whole);
  assert.deepEqual(stream.read(), whole);
});

test('a server that sends more, or a stream that ends, is an error', async () => {
  const more = new PassThrough();
  more.write(Buffer.concat([greeting(), Buffer.from('x')]));
  await assert.rejects(recordGreeting(more, AbortSignal.timeout(5000)), /more than its greeting/);
  const ended = new PassThrough();
  ended.end('SSH-');
  await assert.rejects(recordGreeting(ended, AbortSignal.timeout(5000)), /the stream ended/);
});
