import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { TransportError, sendRequest } from './transport.ts';
import type { TransportFault } from './transport.ts';

/** Runs `use` against a server that notes what it gets, and answers the bytes `answer` to it. */
async function withServer(
  answer: string,
  use: (socketPath: string, received: Promise<string>) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'nephos-sdk-'));
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => socket.write(answer));
  });
  const received = new Promise<string>((resolve) =>
    server.on('connection', (socket) => socket.once('data', (data) => resolve(data.toString()))),
  );
  const path = join(dir, 's');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  try {
    await use(path, received);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(dir, { recursive: true });
  }
}

function isFault(fault: TransportFault, socketPath: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof TransportError);
    assert.deepEqual([error.fault, error.socketPath], [fault, socketPath]);
    assert.ok(error.message.startsWith(`GET /x on ${socketPath} failed: `), error.message);
    return true;
  };
}

test('sends the request of a Cloud Hypervisor client, returns status and text', async () => {
  await withServer('HTTP/1.1 404 \r\nContent-Length: 4\r\n\r\n"é"', async (socketPath, received) => {
    const answer = await sendRequest({ socketPath, method: 'PUT', path: '/x', body: '{"é":1}' });
    assert.deepEqual(answer, { status: 404, body: '"é"' });
    const expected = 'PUT /x HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nContent-Length: 8\r\n';
    assert.ok((await received).startsWith(expected), await received);
  });
});

test('a time limit and a signal abort the wait for an answer, and for the rest of an answer', async () => {
  for (const answer of ['', 'HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\n"']) {
    await withServer(answer, async (socketPath) => {
      const request = { socketPath, method: 'GET', path: '/x', timeoutMs: 50 } as const;
      await assert.rejects(sendRequest(request), isFault('timeout', socketPath));
    });
    await withServer(answer, async (socketPath, received) => {
      const request = { socketPath, method: 'GET', path: '/x' } as const;
      const abort = new AbortController();
      const aborted = sendRequest({ ...request, signal: abort.signal, timeoutMs: 60_000 });
      await received;
      abort.abort();
      await assert.rejects(aborted, isFault('aborted', socketPath));
    });
  }
});

test('a signal that has fired already sends nothing', async () => {
  const signal = AbortSignal.abort();
  const request = { socketPath: '/none', method: 'GET', path: '/x', signal } as const;
  await assert.rejects(sendRequest(request), isFault('aborted', '/none'));
});

test('a missing socket is a fault of the connection', async () => {
  const request = { socketPath: '/none', method: 'GET', path: '/x' } as const;
  await assert.rejects(sendRequest(request), isFault('connect', '/none'));
});
