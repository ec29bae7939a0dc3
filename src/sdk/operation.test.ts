import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Client } from './client.ts';
import { CancelledError, InvalidRequestError, RequestError } from './errors.ts';
import { TransportError } from './transport.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'observe-'));
after(() => rmSync(FOLDER, { recursive: true, force: true }));

const QUEUED = '2026-01-01T00:00:00.000Z';
const RUNNING = { id: '1', kind: 'vm.snapshot', state: 'running', cancellable: true, queued: QUEUED };
const ENDED = { ...RUNNING, cancellable: false, finished: QUEUED };

/** Serves an API on a socket. */
async function served(name: string, listener: RequestListener) {
  const path = join(FOLDER, name);
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const dispose = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { client: new Client(path), [Symbol.dispose]: dispose };
}

/** Serves one operation; `answers` has the status and body of each method. */
function operation(answers: Readonly<Record<'GET' | 'DELETE', readonly [number, unknown]>>): RequestListener {
  return ({ method }, response) => {
    const [status, body] = method === 'PUT' ? [202, RUNNING] : answers[method === 'GET' ? 'GET' : 'DELETE'];
    const text = JSON.stringify(body);
    const headers = { Location: '/api/v1/vmm.operations/1', 'Content-Length': Buffer.byteLength(text) };
    response.writeHead(status, headers).end(text);
  };
}

const BODY = { destination_url: 'file:///x' };

test('a failed operation has the error of the synchronous request', async () => {
  const failed = { ...ENDED, state: 'failed', error: ['vm.snapshot failed', 'bad'], code: 'invalid-config' };
  using api = await served('failed', operation({ GET: [200, failed], DELETE: [404, []] }));
  await assert.rejects(api.client.observe('vm.snapshot', BODY), (error) => {
    assert.ok(error instanceof InvalidRequestError);
    assert.deepEqual([error.status, error.reasons], [400, ['vm.snapshot failed', 'bad']]);
    return true;
  });
});

test('a queued operation is reported before its end', async () => {
  const reports: string[] = [];
  using api = await served('accepted', (message, response) => {
    reports.push(`${message.method}`);
    operation({ GET: [200, { ...ENDED, state: 'succeeded' }], DELETE: [404, []] })(message, response);
  });
  await api.client.observe('vm.snapshot', BODY, { onAccepted: () => void reports.push('accepted') });
  assert.deepEqual(reports, ['PUT', 'accepted', 'GET']);
});

test('an aborted signal cancels the operation, with its reason as the cause', async () => {
  const cancelled = { ...ENDED, state: 'cancelled' };
  using api = await served('cancelled', operation({ GET: [200, RUNNING], DELETE: [200, cancelled] }));
  const abort = new AbortController();
  const observed = api.client.observe('vm.snapshot', BODY, { signal: abort.signal });
  const reason = new Error('enough');
  abort.abort(reason);
  await assert.rejects(observed, (error) => error instanceof CancelledError && error.cause === reason);
});

test('an operation that cannot be cancelled any more has its result', async () => {
  const succeeded = { ...ENDED, state: 'succeeded' };
  using api = await served('committed', operation({ GET: [200, succeeded], DELETE: [409, ['no']] }));
  const abort = new AbortController();
  const observed = api.client.observe('vm.snapshot', BODY, { signal: abort.signal });
  abort.abort();
  await observed;
});

test('a VMM without operations answers synchronously', async () => {
  using api = await served('sync', (_, response) => {
    response.writeHead(500, { 'Content-Length': 5 }).end('["a"]');
  });
  await assert.rejects(
    api.client.observe('vm.snapshot', BODY),
    (error) => error instanceof RequestError && error.status === 500,
  );
});

test('a VMM without operations cannot cancel, which the error tells', async () => {
  using api = await served('silent', () => undefined);
  const abort = new AbortController();
  const observed = api.client.observe('vm.snapshot', BODY, { signal: abort.signal });
  abort.abort();
  await assert.rejects(observed, (error) => {
    assert.ok(error instanceof TransportError && error.fault === 'aborted');
    assert.match(error.message, /this VMM cannot cancel a request: it continues/);
    return true;
  });
});
