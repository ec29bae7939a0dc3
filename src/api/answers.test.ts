import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openApiDocument } from './openapi.ts';
import type { RouteDefinition } from './route.ts';
import { ROUTES } from './routes.ts';

interface Response {
  readonly content?: { readonly 'application/json': { readonly schema: unknown } };
  readonly headers?: Readonly<Record<string, unknown>>;
}

const { paths } = openApiDocument('everything');

function responsesOf(
  name: string,
  { method, path = name }: RouteDefinition,
): Readonly<Record<string, Response>> {
  const operation = paths[`/${path}`]?.[method.toLowerCase()] as { responses: Record<string, Response> };
  return operation.responses;
}

const statusesOf = (name: string, route: RouteDefinition): number[] =>
  Object.keys(responsesOf(name, route)).map(Number);

/** Order of the routes. */
const byRoute = (a: string, b: string): number =>
  routes.findIndex(([name]) => name === a) - routes.findIndex(([name]) => name === b);

const routes = Object.entries<RouteDefinition>(ROUTES);

test('each error has the list of messages as its body', () => {
  for (const [name, route] of routes) {
    for (const [status, { content }] of Object.entries(responsesOf(name, route))) {
      if (Number(status) < 400) continue;
      const schema = content?.['application/json'].schema;
      assert.deepEqual(schema, { $ref: '#/components/schemas/ErrorMessages' }, `${name} ${status}`);
    }
  }
});

test('each endpoint documents the answer to a wrong method, with Allow', () => {
  for (const [name, route] of routes) {
    const allowed = route.path === undefined ? route.method : 'GET, DELETE';
    const allow = responsesOf(name, route)['405']?.headers?.['Allow'];
    assert.deepEqual((allow as { schema: unknown }).schema, { type: 'string', enum: [allowed] }, name);
  }
});

test('each endpoint lists the statuses of the HTTP server and of an invalid body', () => {
  for (const [name, route] of routes) {
    const told = new Set(statusesOf(name, route));
    for (const status of [400, 405, 408, 413, 431, 503]) assert.ok(told.has(status), `${name} ${status}`);
    assert.equal(told.has(500), route.implemented, name);
    assert.equal(told.has(501), !route.implemented, name);
  }
});

test('error answers are documented for a missing VM, an id in use and a busy guest', () => {
  const having = (status: number): string[] =>
    routes.filter(([name, route]) => statusesOf(name, route).includes(status)).map(([name]) => name);
  assert.deepEqual(
    having(409),
    [
      ...routes
        .filter(([name, { implemented }]) => implemented && name.startsWith('vm.add-'))
        .map(([name]) => name),
      'vmm.cancel-operation',
    ].toSorted(byRoute),
  );
  assert.deepEqual(having(429), ['vm.resize']);
  const without = routes.filter(([, { implemented, phases }]) => implemented && !phases.includes('none'));
  const refused = without.map(([name]) => name);
  assert.deepEqual(
    having(404).toSorted(),
    [...refused, 'vm.restore', 'vmm.operation', 'vmm.cancel-operation'].toSorted(),
  );
});

test('the contract’s document has none of it', () => {
  const text = JSON.stringify(openApiDocument('contract'));
  assert.doesNotMatch(text, /ErrorMessages|"413"|maxItems|"pattern"/);
  assert.match(text, /"default":"512 MB"/);
});
