import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openApiDocument } from '../../../api/openapi.ts';
import { ROUTES } from '../../../api/routes.ts';
import type { RouteDefinition } from '../../../api/route.ts';
import { buttonsOf, formsOf, needsConfirmation } from './actions.ts';
import { readDocument } from './document.ts';
import { bodyOf, fieldsOf, isEntered, type FormField } from './fields.ts';
import type { Json } from './json.ts';

const JSON_DOCUMENT: Json = JSON.parse(JSON.stringify(openApiDocument('everything')));
const DOCUMENT = readDocument(JSON_DOCUMENT);

const requestOf = (name: string) => {
  const found = DOCUMENT.requests.find((one) => one.name === name);
  assert.ok(found !== undefined, name);
  return found;
};
const fieldsFor = (name: string): FormField[] => fieldsOf(DOCUMENT, requestOf(name).body ?? null);
const fieldOf = (fields: readonly FormField[], name: string): FormField => {
  const found = fields.find((one) => one.name === name);
  assert.ok(found !== undefined, name);
  return found;
};

test('the served document has each request with the states in which the API serves it', () => {
  for (const [name, route] of Object.entries<RouteDefinition>(ROUTES)) {
    // the page cancels operations by itself
    if (route.method === 'DELETE') continue;
    const { method, phases, body } = requestOf(route.path ?? name);
    assert.equal(method, route.method, name);
    assert.deepEqual(phases, route.implemented ? route.phases : [], name);
    assert.equal(body === undefined, route.request === undefined || route.path !== undefined, name);
  }
});

test('buttons are the requests without a body, from boot to vmm.shutdown', () => {
  const names = buttonsOf(DOCUMENT.requests).map(({ name }) => name);
  assert.equal(names[0], 'vm.boot');
  assert.deepEqual(names.slice(-2), ['vm.delete', 'vmm.shutdown']);
  assert.deepEqual(
    names.toSorted(),
    Object.entries<RouteDefinition>(ROUTES)
      .filter(
        ([name, { method, request }]) => method === 'PUT' && request === undefined && name !== 'vmm.nmi',
      )
      .map(([name]) => name)
      .toSorted(),
  );
  assert.ok(needsConfirmation(requestOf('vm.delete')) && !needsConfirmation(requestOf('vm.pause')));
});

test('forms are the requests with a body that a state allows; unsupported ones have none', () => {
  const names = (phase: string): string[] => formsOf(DOCUMENT.requests, phase).map(({ name }) => name);
  assert.deepEqual(names('none'), ['vm.create', 'vm.restore', 'vm.receive-migration']);
  assert.ok(names('Running').includes('vm.add-disk') && !names('Running').includes('vm.snapshot'));
  assert.ok(names('Paused').includes('vm.snapshot'));
  assert.ok(!names('Running').includes('vm.add-vdpa'));
});

test('fields have the kind, the default and the hint of their member, required ones first', () => {
  const disk = fieldsFor('vm.add-disk');
  assert.equal(fieldOf(disk, 'readonly').kind, 'flag');
  assert.equal(fieldOf(disk, 'image_type').kind, 'choice');
  assert.ok(fieldOf(disk, 'image_type').schema.enum.includes('Qcow2'));
  assert.deepEqual(
    [fieldOf(disk, 'queue_size').kind, fieldOf(disk, 'queue_size').schema.defaultValue],
    ['number', 128],
  );
  assert.equal(fieldOf(disk, 'queue_affinity').kind, 'json');
  assert.match(fieldOf(disk, 'path').schema.description, /Image file/);
  const limits = fieldOf(disk, 'rate_limiter_config');
  assert.equal(limits.kind, 'group');
  assert.equal(fieldOf(fieldOf(limits.fields, 'ops').fields, 'size').kind, 'number');
  const [first] = fieldsFor('vm.snapshot');
  assert.deepEqual([first?.name, first?.isRequired], ['destination_url', true]);
});

test('a body has the entered fields only, with sizes in bytes and lists as JSON', () => {
  const entered = new Map([
    ['path', '/a b'],
    ['readonly', 'true'],
    ['direct', 'false'],
    ['id', ''],
    ['queue_affinity', '[{"queue_index": 0, "host_cpus": [1]}]'],
    ['rate_limiter_config.ops.size', '2K'],
  ]);
  assert.deepEqual(bodyOf(fieldsFor('vm.add-disk'), entered), {
    path: '/a b',
    readonly: true,
    direct: false,
    queue_affinity: [{ queue_index: 0, host_cpus: [1] }],
    rate_limiter_config: { ops: { size: 2048 } },
  });
  assert.deepEqual(bodyOf(fieldsFor('vm.resize'), new Map([['desired_ram', '1G']])), {
    desired_ram: 2 ** 30,
  });
});

test('a group counts as entered with the first text in it', () => {
  const entered = new Map([
    ['a.b.c', ''],
    ['ab.c', 'x'],
    ['d.e', 'x'],
  ]);
  assert.deepEqual(
    ['a', 'a.b', 'ab', 'd', 'd.e'].map((group) => isEntered(entered, group)),
    [false, false, true, true, false],
  );
});

test('a number or JSON that cannot be read is reported with its field', () => {
  const body = (path: string, text: string) => () =>
    bodyOf(fieldsFor('vm.add-disk'), new Map([[path, text]]));
  for (const text of ['x', '-1', '1.5', '1T', '9999999999999999'])
    assert.throws(body('queue_size', text), /^Error: queue_size: expected a whole number/);
  assert.throws(body('rate_limiter_config.ops.size', 'x'), /^Error: rate_limiter_config\.ops\.size: /);
  assert.throws(body('queue_affinity', '['), /^Error: queue_affinity: expected JSON$/);
});

test('a document of another form has no requests', () => {
  for (const json of [null, [], 'x', { paths: [1] }, { paths: { '/a': { put: null } } }] as Json[])
    assert.deepEqual(
      readDocument(json).requests.filter(({ phases }) => phases.length > 0),
      [],
    );
});
