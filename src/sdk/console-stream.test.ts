import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectConsole } from './console-stream.ts';

test('a console without a VMM is an error of the connection, and of nothing else', async () => {
  const { stream, opened } = connectConsole({ socketPath: '/tmp/no such.sock', device: 'serial' });
  await assert.rejects(opened, { name: 'TransportError', fault: 'connect' });
  // an error event without a listener would end the process
  await new Promise((resolve) => stream.once('close', resolve));
  assert.ok(stream.destroyed);
});
