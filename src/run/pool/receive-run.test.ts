import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
  readFileSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { sendDescriptors } from '../../native/descriptor-passing.ts';
import { STREAMS_MESSAGE } from './messages.ts';
import { receiveClient } from './receive-run.ts';

function makeSocketPath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'receive-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'run.sock');
}

test('the first client passes its streams, and later messages; another one gets no answer', async (t) => {
  const path = makeSocketPath(t);
  const file = `${path}.out`;
  const clients: Socket[] = [];
  const receiving = receiveClient(
    path,
    () => {
      for (let i = 0; i < 2; i++) clients.push(connect(path).on('error', () => undefined));
    },
    AbortSignal.timeout(10_000),
  );
  const fd = openSync(file, 'w');
  while (clients.length < 2) await new Promise(setImmediate);
  const [client, other] = clients;
  assert.ok(client !== undefined && other !== undefined);
  const closed = other.closed ? undefined : new Promise((resolve) => other.once('close', resolve));
  other.resume();
  if (client.connecting) await once(client, 'connect');
  await sendDescriptors(client, STREAMS_MESSAGE, [fd, fd]);
  client.write('{"kind":"x"}\n');
  closeSync(fd);
  const received = await receiving;
  assert.ok(received !== undefined);
  assert.equal(received.fds.length, 2);
  writeSync(received.fds[1] ?? -1, 'bytes');
  assert.equal(readFileSync(file, 'utf8'), 'bytes');
  const data = once(received.socket, 'data');
  received.socket.resume();
  const [bytes]: unknown[] = await data;
  assert.equal(String(bytes), '{"kind":"x"}\n');
  await closed;
  assert.ok(!existsSync(path));
  received[Symbol.dispose]();
  assert.throws(() => fstatSync(received.fds[0] ?? -1), { code: 'EBADF' });
  received.socket.destroy();
  client.destroy();
});

test('a client without streams is refused; an abort ends the wait', async (t) => {
  const path = makeSocketPath(t);
  const receiving = receiveClient(path, () => connect(path).end('x'), AbortSignal.timeout(10_000));
  assert.equal(await receiving, undefined);
  assert.ok(!existsSync(path));
  const end = new AbortController();
  assert.equal(await receiveClient(path, () => end.abort(), end.signal), undefined);
  assert.ok(!existsSync(path));
});
