import assert from 'node:assert/strict';
import { Duplex, Readable } from 'node:stream';
import { once } from 'node:events';
import { test } from 'node:test';
import type { ClientChannel } from 'ssh2';
import { openStreams } from './channel-streams.ts';

/** A channel as ssh2 makes it, into which the test pushes what a server sends. */
function fakeChannel(): ClientChannel {
  const options = { highWaterMark: 2 * 2 ** 20, emitClose: false, read: () => undefined };
  const channel = new Duplex({ ...options, write: (_bytes, _encoding, done) => done() });
  return Object.assign(channel, { stderr: new Readable(options) }) as unknown as ClientChannel;
}

test('output beyond the window is an error, and is not kept', async () => {
  const channel = fakeChannel();
  const { stdout } = openStreams(channel, () => undefined);
  const failed = once(stdout, 'error');
  stdout.read(0);
  for (let i = 0; i < 100; i++) channel.push(Buffer.alloc(2 ** 20));
  const [error] = (await failed) as [Error];
  assert.match(error.message, /more than the window/);
  assert.ok(channel.readableLength <= 17 * 2 ** 20);
});

test('the end of a lost connection is an error, that of the server is not', async () => {
  let lost: Error | undefined;
  const whole = fakeChannel();
  const one = openStreams(whole, () => lost);
  whole.push('all');
  whole.push(null);
  lost = new Error('the connection is lost');
  assert.equal(Buffer.concat(await one.stdout.toArray()).toString(), 'all');
  const cut = fakeChannel();
  const other = openStreams(cut, () => lost);
  cut.push('some');
  cut.push(null);
  await assert.rejects(other.stdout.toArray(), lost);
});
