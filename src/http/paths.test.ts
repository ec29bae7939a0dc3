import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoint, Route } from '../api/route.ts';
import { indexPaths } from './paths.ts';
import { endpoint, golden, TestServer } from './test-kit.ts';

/** Returns an endpoint whose handler returns the method and its request. */
function at(path: string, method: Route['method']): Endpoint {
  const { route, handle } = endpoint(method, 'ignored', async (request) => ({ method, request }));
  return { route: { ...route, path, notAllowed: () => true }, handle };
}

const ENDPOINTS = new Map([
  ['list', at('things', 'GET')],
  ['show', at('things/{id}', 'GET')],
  ['remove', at('things/{id}', 'DELETE')],
]);

test('a parameter stands for one segment', () => {
  const paths = indexPaths(ENDPOINTS);
  assert.equal(paths.find('things')?.parameters, undefined);
  assert.deepEqual(paths.find('things/%41')?.parameters, { id: '%41' });
  for (const path of ['', 'thing', 'things/', 'things/a/b', '/a', 'things/{id}/']) {
    assert.equal(paths.find(path), undefined, path);
  }
});

test('the methods of a path have handlers of their own, which get the parameter', async () => {
  await using api = await TestServer.start(ENDPOINTS);
  using client = api.client();
  const ask = (line: string, body: string): Promise<void> =>
    client.send(`${line} HTTP/1.1\r\n\r\n`).expect(golden(200, body));
  await ask('GET /api/v1/things', '{"method":"GET"}');
  await ask('GET /api/v1/things/a-1', '{"method":"GET","request":{"id":"a-1"}}');
  await ask('DELETE /api/v1/things/a-1', '{"method":"DELETE","request":{"id":"a-1"}}');
});

test('a method that a path does not have is answered with those that it has', async () => {
  await using api = await TestServer.start(ENDPOINTS);
  using client = api.client();
  client.send('PUT /api/v1/things/a HTTP/1.1\r\n\r\n');
  const said = 'Method PUT is not allowed here, use GET or DELETE';
  const head = await client.expectMessages(405, 'things/a failed', said);
  assert.match(head, /\r\nAllow: GET, DELETE\r\n/);
  client.send('GET /api/v1/things/ HTTP/1.1\r\n\r\n');
  await client.expectMessages(404, 'No such endpoint: /api/v1/things/');
});
