import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { startSshServer } from '../../../tests/support/ssh-server.ts';
import { connectGuest } from '../../guest/connect-guest.ts';
import { replayConnection, startRecording } from './recorded-connection.ts';

test('a second client continues the recorded connection of the first one', async () => {
  await using server = startSshServer();
  const { stream, user } = server;
  const recording = startRecording(stream);
  await connectGuest({ stream, user, seed: recording.seed });
  const recorded = recording.finish();
  // the first client leaves without a word, as the one of a snapshot does
  stream.removeAllListeners();
  stream.pause();

  const replay = replayConnection(recorded);
  const guest = await connectGuest({ stream: replay.stream, user, seed: recorded.seed });
  assert.ok(replay.isComplete());
  const [first] = await Promise.all([
    guest.exec('echo one; exit 3'),
    // the command was sent before: it waits for the stream
    Promise.resolve().then(() => replay.attach(stream)),
  ]);
  assert.deepEqual(first, { exitCode: 3, signal: null, stdout: 'one\n', stderr: '' });
  const bytes = Buffer.alloc(1_000_000, 'abc\n');
  const { stdout } = await guest.exec(['cat'], { input: bytes });
  assert.ok(Buffer.from(stdout).equals(bytes));
  await guest[Symbol.asyncDispose]();
  assert.ok(stream.destroyed);
});

test('a client with other random numbers does not accept the connection', async () => {
  await using server = startSshServer();
  const { stream, user } = server;
  const recording = startRecording(stream);
  await using _first = await connectGuest({ stream, user, seed: recording.seed });
  const { stream: replayed } = replayConnection(recording.finish());
  await assert.rejects(connectGuest({ stream: replayed, user }), { name: 'GuestError', fault: 'connect' });
});

test('the end and a failure of the guest reach the client, and its end the guest', async () => {
  const recorded = {
    ...startRecording(new PassThrough()).finish(),
    sent: 3,
    received: Buffer.from('hello '),
  };
  const [guest, replay] = [new PassThrough(), replayConnection(recorded)];
  replay.stream.write('abcde');
  assert.equal(replay.isComplete(), true);
  replay.attach(guest);
  // a PassThrough returns what it receives
  replay.stream.end('f');
  let text = '';
  for await (const bytes of replay.stream) text += String(bytes);
  assert.equal(text, 'hello def');

  const late = replayConnection(recorded);
  late.stream.destroy();
  const unused = new PassThrough();
  late.attach(unused);
  assert.ok(unused.destroyed);
});
