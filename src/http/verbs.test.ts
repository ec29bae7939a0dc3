import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../api/errors.ts';
import { endpoint, golden, TestServer } from './test-kit.ts';

/** A path where a wrong method is answered 405, except GET, which is answered 400. */
function server(): Promise<TestServer> {
  const { route, handle } = endpoint('PUT', 'ignored', async () => undefined);
  const notAllowed = (verb: string): boolean => verb !== 'GET';
  return TestServer.start(new Map([['vm.resize-disk', { route: { ...route, notAllowed }, handle }]]));
}

const PATH = '/api/v1/vm.resize-disk';

for (const verb of ['POST', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']) {
  test(`a verb that is not allowed is answered with the one that is: ${verb}`, async () => {
    await using api = await server();
    using client = api.client();
    client.send(`${verb} ${PATH} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}`);
    const said = `Method ${verb} is not allowed here, use PUT`;
    const head = await client.expectMessages(405, 'vm.resize-disk failed', said);
    const order = 'Server: Cloud Hypervisor API\r\nConnection: keep-alive\r\nAllow: PUT\r\nContent-Type: ';
    assert.ok(head.includes(order), head);
    await client.send(`PUT ${PATH} HTTP/1.1\r\n\r\n`).expect(golden(204));
  });
}

test('HEAD gets the method without a body', async () => {
  await using api = await server();
  using client = api.client();
  const head = golden(405).replace('\r\n\r\n', '\r\nAllow: PUT\r\n\r\n');
  await client.send(`HEAD ${PATH} HTTP/1.1\r\n\r\n`).expect(head);
});

test('a verb that a client of Cloud Hypervisor may send is answered as by Cloud Hypervisor', async () => {
  await using api = await server();
  using client = api.client();
  client.send(`GET ${PATH} HTTP/1.1\r\n\r\n`);
  const head = await client.expectMessages(400, 'vm.resize-disk failed', /^Method GET is not allowed here/);
  assert.doesNotMatch(head, /Allow/);
});

test('an error has no halves of characters, at any place where a text was cut', async () => {
  const { route, handle } = endpoint('PUT', 'required', async () => undefined);
  const decode = (json: unknown): never => {
    throw new ApiError('bad-request', `got ${String(json)}`);
  };
  await using api = await TestServer.start(new Map([['vm.create', { route: { ...route, decode }, handle }]]));
  using client = api.client();
  client.send('PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: 8\r\n\r\n"\\ud83d"');
  await client.expectMessages(400, 'vm.create failed', 'got \ufffd');
});
