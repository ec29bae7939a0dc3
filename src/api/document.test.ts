import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tableRows } from '../../tests/support/markdown.ts';
import { isPinnedRoute } from '../devices/test-kinds.ts';
import type { ApiErrorCode } from './errors.ts';
import type { Phase, RouteDefinition } from './route.ts';
import { ALWAYS, WITH_VM } from './route-kinds.ts';
import { ROUTES } from './routes.ts';
import { STREAM_ROUTES } from './stream-routes.ts';
import { UPGRADE_ROUTES } from './upgrade-routes.ts';

/** A row of the table of endpoints, by its columns. */
interface Row {
  readonly method: string;
  readonly body: string;
  readonly success: string;
  readonly legal: string;
  readonly otherwise: string;
}

/** The table of docs/api.md, a row for each endpoint. */
function documented(): Map<string, Row> {
  const rows = tableRows('docs/api.md', 'endpoint').flatMap((cells) => {
    const [names = '', method = '', body = '', success = '', legal = '', otherwise = ''] = cells;
    const [first = '', ...others] = names.split(', ');
    // `vm.add-device, -disk`: what stands before the last hyphen is the same
    const whole = others.map((name) => (name.startsWith('-') ? first.replace(/-[^-]*$/, name) : name));
    return [first, ...whole].map((name): [string, Row] => [
      name,
      { method, body, success, legal, otherwise },
    ]);
  });
  return new Map(rows);
}

const table = documented();
/** Add requests of new kinds of devices may be documented. */
const routes = Object.entries<RouteDefinition>(ROUTES).filter(
  ([name]) => isPinnedRoute(name) || table.has(name),
);

function each(check: (row: Row, route: RouteDefinition, name: string) => void): void {
  for (const [name, route] of routes) {
    const row = table.get(name);
    assert.ok(row !== undefined, `docs/api.md has no row for ${name}`);
    check(row, route, name);
  }
}

/** The statuses that a cell names. */
function statusesIn(cell: string): number[] {
  return [...cell.matchAll(/\b[245]\d\d\b/g)].map(([text]) => Number(text));
}

test('the table of the API has each endpoint once, and no other', () => {
  const names = [
    ...routes.map(([name]) => name),
    ...Object.keys(STREAM_ROUTES),
    ...Object.keys(UPGRADE_ROUTES),
  ];
  assert.deepEqual([...table.keys()].toSorted(), names.toSorted());
  const cells = tableRows('docs/api.md', 'endpoint').map((row) => row.length);
  assert.ok(cells.every((count) => count === 6));
});

test('methods and bodies are those of the routes', () => {
  each(({ method, body }, route, name) => {
    assert.equal(method, route.method, name);
    const kind = { none: 'refused', ignored: 'ignored' }[body] ?? 'required';
    // a request that cannot be served is not looked at
    assert.equal(kind, route.implemented ? route.body : 'ignored', name);
    assert.notEqual(body, '', name);
  });
});

test('each endpoint has the documented answer of success', () => {
  each(({ success }, route, name) => {
    const answers = Object.keys(route.answers).map(Number);
    const expected = new Set(answers.filter((status) => status < 300));
    if (route.implemented && route.replyAfterBoot === true) expected.add(204);
    assert.deepEqual(new Set(statusesIn(success)), expected, name);
  });
});

test('each endpoint is legal in the states of its column', () => {
  each(({ legal, otherwise }, route, name) => {
    if (!route.implemented) {
      assert.equal(legal, 'never', name);
      assert.deepEqual(statusesIn(otherwise), [501], name);
      return;
    }
    assert.deepEqual(phasesIn(legal), route.phases.toSorted(), name);
  });
});

function phasesIn(cell: string): Phase[] {
  if (cell === 'always') return ALWAYS.toSorted();
  if (cell === 'there is a VM') return WITH_VM.toSorted();
  return ALWAYS.filter((phase) => new RegExp(`\\b${phase}\\b`).test(cell)).toSorted();
}

const STATUS: Partial<Record<ApiErrorCode, number>> = { 'no-vm': 404, 'wrong-state': 405 };

test('the statuses of states in which an endpoint is not legal are in the last column', () => {
  each(({ otherwise }, route, name) => {
    const illegal = route.implemented ? ALWAYS.filter((phase) => !route.phases.includes(phase)) : [];
    const codes = illegal.map(
      (phase) => route.refusals?.[phase] ?? (phase === 'none' ? 'no-vm' : 'wrong-state'),
    );
    const expected = new Set(codes.map((code) => STATUS[code]));
    const told = new Set(statusesIn(otherwise));
    for (const status of expected) assert.ok(status !== undefined && told.has(status), `${name}: ${status}`);
    if (!expected.has(405)) assert.ok(!told.has(405), `${name}: is refused in no state with 405`);
  });
});
