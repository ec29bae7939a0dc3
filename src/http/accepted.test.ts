import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../api/errors.ts';
import type { Endpoint } from '../api/route.ts';
import { endpoint, golden, TestServer } from './test-kit.ts';

/** An endpoint that can be served asynchronously. */
function asynchronous(body: 'required' | 'refused'): Endpoint {
  return {
    ...endpoint('PUT', body, async () => undefined),
    start: (request, { wait }) => ({ location: 'vmm.operations/7', body: { request, wait } }),
  };
}

const ENDPOINTS = new Map([
  ['vm.snapshot', asynchronous('required')],
  ['vm.boot', asynchronous('refused')],
  ['vm.pause', endpoint('PUT', 'refused', async () => undefined)],
]);

test('a request that prefers it is answered before it is served', async () => {
  await using api = await TestServer.start(ENDPOINTS);
  using client = api.client();
  client.send(
    'PUT /api/v1/vm.snapshot HTTP/1.1\r\nPrefer: respond-async, wait=3\r\nContent-Length: 2\r\n\r\n{}',
  );
  const body = '{"request":{},"wait":3}';
  await client.expect(
    'HTTP/1.1 202 \r\nServer: Cloud Hypervisor API\r\nConnection: keep-alive\r\n' +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n` +
      `Location: /api/v1/vmm.operations/7\r\nPreference-Applied: respond-async, wait=3\r\n\r\n${body}`,
  );
});

test('several headers are one list', async () => {
  await using api = await TestServer.start(ENDPOINTS);
  using client = api.client();
  client.send('PUT /api/v1/vm.boot HTTP/1.1\r\nPrefer: return=minimal\r\nPREFER: Respond-Async\r\n\r\n');
  const { head } = await client.answer();
  assert.match(head, /^HTTP\/1\.1 202 .*\r\nPreference-Applied: respond-async\r\n/s);
});

test('without the preference, and on other endpoints, the answer does not change', async () => {
  await using api = await TestServer.start(ENDPOINTS);
  using client = api.client();
  await client.send('PUT /api/v1/vm.boot HTTP/1.1\r\nPrefer: wait=3\r\n\r\n').expect(golden(204));
  await client.send('PUT /api/v1/vm.pause HTTP/1.1\r\nPrefer: respond-async\r\n\r\n').expect(golden(204));
});

test('a request that is known to fail is answered at once', async () => {
  const boot = asynchronous('refused');
  const check = (): never => {
    throw new ApiError('wrong-state', 'The VM is Running');
  };
  await using api = await TestServer.start(
    new Map([...ENDPOINTS, ['vm.boot', { ...boot, route: { ...boot.route, check } }]]),
  );
  using client = api.client();
  const send = (line: string, body = ''): unknown =>
    client.send(
      `PUT /api/v1/${line} HTTP/1.1\r\nPrefer: respond-async\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  send('vm.boot');
  await client.expectMessages(405, 'vm.boot failed', 'The VM is Running');
  send('vm.boot', '{}');
  await client.expectMessages(400, 'vm.boot failed', 'Request body must be empty');
  send('vm.snapshot', '{');
  await client.expectMessages(400, 'vm.snapshot failed', /JSON/);
  send('vm.snapshot');
  await client.expectMessages(400, 'vm.snapshot failed', 'Request body is missing');
});
