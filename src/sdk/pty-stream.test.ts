import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { openPty } from '../host/console/pty.ts';
import { openPtyStream } from './pty-stream.ts';

test('a PTY is a duplex stream: large writes arrive whole, its end closes the stream', async () => {
  const pty = await openPty();
  const stream = openPtyStream(pty.path);
  stream.on('error', () => undefined);
  const paste = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 31) % 251));
  const typed: Buffer[] = [];
  const whole = new Promise<void>((resolve) => {
    pty.onInput((bytes) => {
      typed.push(bytes);
      if (typed.reduce((sum, { length }) => sum + length, 0) >= paste.length) resolve();
    });
  });
  stream.write(paste);
  await whole;
  assert.ok(Buffer.concat(typed).equals(paste));

  const shown: Buffer[] = [];
  const all = new Promise<void>((resolve) => {
    stream.on('data', (bytes: Buffer) => {
      shown.push(bytes);
      if (shown.reduce((sum, { length }) => sum + length, 0) >= paste.length) resolve();
    });
  });
  pty.write(paste);
  await all;
  assert.ok(Buffer.concat(shown).equals(paste));

  const closed = once(stream, 'close');
  pty.dispose();
  await closed;
});
