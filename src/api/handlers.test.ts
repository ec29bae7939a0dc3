import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dialectOf } from '../config/dialect.ts';
import { isPinnedRoute } from '../devices/test-kinds.ts';
import { UNSUPPORTED } from '../devices/unsupported/config.ts';
import { ApiError, errorChain } from './errors.ts';
import { checkPhase, endpointsOf, type Handlers } from './handlers.ts';
import type { Phase, RouteDefinition } from './route.ts';
import { ROUTES, type RouteName } from './routes.ts';

const unexpected = (): Promise<never> => Promise.reject(new Error('was called'));
/** A handler for each supported route; all but that of vmm.ping reject. */
const HANDLERS = {
  ...Object.fromEntries(
    Object.entries<RouteDefinition>(ROUTES)
      .filter(([, route]) => route.implemented)
      .map(([name]) => [name, unexpected]),
  ),
  'vmm.ping': async () => ({ version: '1', build_version: 'b', pid: 1, features: [] }),
} as unknown as Handlers;
const ENDPOINTS = endpointsOf(HANDLERS);
const PHASES: readonly Phase[] = ['none', 'Created', 'Running', 'Paused', 'Shutdown'];

const failure = (act: () => unknown): ApiError => {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof ApiError, String(error));
    return error;
  }
  throw new Error('was accepted');
};
const decode = (name: string, json: unknown): unknown => ENDPOINTS.get(name)?.route.decode(json);

const routesWith = (body: string): string[] =>
  Object.entries(ROUTES)
    .filter(([name, route]) => route.body === body && isPinnedRoute(name))
    .map(([name]) => name);

test('every route is an endpoint, supported or not', () => {
  assert.deepEqual([...ENDPOINTS.keys()], Object.keys(ROUTES));
  assert.equal([...ENDPOINTS.keys()].filter(isPinnedRoute).length, 36);
});

test('a handler is called with what the route decodes', async () => {
  assert.deepEqual(await ENDPOINTS.get('vmm.ping')?.handle(undefined), {
    version: '1',
    build_version: 'b',
    pid: 1,
    features: [],
  });
});

test('every route has its handler, or the reason why not', async () => {
  const missing = Object.keys(ROUTES).filter((name) => !Object.hasOwn(HANDLERS, name));
  assert.deepEqual(missing.filter(isPinnedRoute), [
    'vm.add-user-device',
    'vm.add-vdpa',
    'vm.add-generic-vhost-user',
  ]);
  for (const name of missing) {
    // whatever it is asked
    assert.equal(ENDPOINTS.get(name)?.route.decode('?'), undefined);
    await assert.rejects(
      ENDPOINTS.get(name)?.handle(undefined) ?? Promise.resolve(),
      (error) =>
        error instanceof ApiError &&
        error.code === 'not-supported' &&
        (!isPinnedRoute(name) || /: QEMU | has one /.test(error.message)),
    );
  }
});

test('bodies are refused, ignored and required as in Cloud Hypervisor', () => {
  assert.deepEqual(routesWith('ignored'), [
    'vmm.ping',
    'vmm.shutdown',
    'vm.info',
    'vmm.operations',
    'vmm.operation',
    'vmm.cancel-operation',
  ]);
  assert.deepEqual(routesWith('refused'), [
    'vm.counters',
    'vm.delete',
    'vm.boot',
    'vm.pause',
    'vm.resume',
    'vm.shutdown',
    'vm.reboot',
    'vm.power-button',
    'vm.nmi',
    'vmm.nmi',
    'vmm.usage',
  ]);
  assert.equal(routesWith('required').length, 19);
});

test('vm.create reports all problems of the configuration', () => {
  const shape = failure(() => decode('vm.create', { cpus: { boot_vcpus: '1', max_vcpus: 1 } }));
  assert.equal(shape.code, 'bad-request');
  assert.deepEqual(errorChain(shape), [
    'The VM configuration is not valid',
    'cpus.boot_vcpus: expected a whole number from 1 to 255, got "1"; missing field "kernel"',
  ]);
  const kernel = { path: '/k' };
  const vdpa = [{ path: '/v' }];
  const rule = failure(() => decode('vm.create', { kernel, vdpa, memory: { size: 0 } }));
  assert.equal(rule.code, 'invalid-config');
  assert.deepEqual(errorChain(rule), [
    'The VM configuration is not valid',
    `not supported yet: vdpa (${UNSUPPORTED.vdpa}); memory.size: must not be 0 without memory zones`,
  ]);
  const disks = [0, 1].map(() => ({ path: '/a', id: 'x' }));
  assert.equal(failure(() => decode('vm.create', { kernel, disks })).code, 'invalid-config');
});

/** Error of each endpoint in each phase; empty: the request is served. */
const STATUS = new Map<RouteName, string>([
  ['vmm.ping', ''],
  ['vmm.shutdown', ''],
  ['vm.info', 'none 404'],
  ['vm.counters', 'none 404, Created 405, Shutdown 405'],
  ['vm.create', 'Created 405, Running 405, Paused 405, Shutdown 405'],
  ['vm.delete', 'none 404'],
  ['vm.boot', 'none 404, Running 405'],
  ['vm.pause', 'none 404, Created 405, Paused 405, Shutdown 405'],
  ['vm.resume', 'none 404, Created 404, Running 405, Shutdown 404'],
  ['vm.shutdown', 'none 404, Created 405, Shutdown 405'],
  ['vm.reboot', 'none 404, Created 405, Shutdown 405'],
  ['vm.power-button', 'none 404, Created 405, Shutdown 405'],
  ['vm.add-disk', 'none 404'],
  ['vm.remove-device', 'none 404'],
  ['vm.snapshot', 'none 404, Created 405, Running 405, Shutdown 405'],
  ['vm.restore', 'Created 404, Running 404, Paused 404, Shutdown 404'],
]);

test('each endpoint is refused where the VM is not in a state for it', () => {
  const codes: Readonly<Record<string, number>> = { 'no-vm': 404, 'wrong-state': 405 };
  for (const [name, expected] of STATUS) {
    const refused = PHASES.flatMap((phase) => {
      try {
        checkPhase(name, phase);
        return [];
      } catch (error) {
        assert.ok(error instanceof ApiError);
        return [`${phase} ${codes[error.code]}`];
      }
    });
    assert.equal(refused.join(', '), expected, name);
  }
});

test('a refusal names the state of the VM and the required states', () => {
  assert.equal(failure(() => checkPhase('vm.boot', 'none')).message, 'The VM is not created');
  assert.equal(
    failure(() => checkPhase('vm.pause', 'Created')).message,
    'The VM is Created, it must be Running',
  );
  assert.equal(
    failure(() => checkPhase('vm.create', 'Paused')).message,
    'The VM is already created (it is Paused)',
  );
});

test('a wrong method is answered 405, unless clients of Cloud Hypervisor use it', () => {
  for (const [name, { route }] of ENDPOINTS) {
    for (const verb of ['POST', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'get']) {
      assert.equal(route.notAllowed?.(verb), true, `${verb} ${name}`);
    }
    const isBeyond = Object.entries<RouteDefinition>(ROUTES).some(
      ([one, { beyond }]) => one === name && beyond,
    );
    for (const verb of ['GET', 'PUT']) assert.equal(route.notAllowed?.(verb), isBeyond, `${verb} ${name}`);
  }
});

test('vm.resize before boot changes the configuration, in dialects that support it', () => {
  const [contract, current] = [dialectOf({ payload: undefined }), dialectOf({ payload: {} })];
  for (const phase of ['Created', 'Shutdown'] as const) {
    for (const name of ['vm.resize', 'vm.resize-zone'] as const) {
      assert.equal(failure(() => checkPhase(name, phase, contract)).code, 'wrong-state');
      assert.doesNotThrow(() => checkPhase(name, phase, current));
    }
    // a VM that is not booted has no disk to resize and no counters
    for (const name of ['vm.resize-disk', 'vm.counters', 'vm.snapshot'] as const)
      assert.equal(failure(() => checkPhase(name, phase, current)).code, 'wrong-state');
  }
  assert.equal(failure(() => checkPhase('vm.resize', 'none', undefined)).code, 'no-vm');
});
