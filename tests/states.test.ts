// Each route in each state of a VM, by a client that reads HTTP as strictly as Cloud Hypervisor's ch-remote.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { connectStrict, type StrictAnswer, type StrictClient } from './support/strict-client.ts';
import { stateOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';

const STATES = ['none', 'Created', 'Running', 'Paused', 'Shutdown'] as const;
type State = (typeof STATES)[number];

/** Status in each state, in the order of STATES, as in docs/api.md; 0 where the request changes the state: other tests have these. */
const TABLE: Readonly<Record<string, readonly [body: unknown, ...statuses: number[]]>> = {
  'GET vmm.ping': [undefined, 200, 200, 200, 200, 200],
  'GET vm.info': [undefined, 404, 200, 200, 200, 200],
  // a stream without an end: tests/event-stream.test.ts has it
  'GET vmm.events': [undefined, 0, 0, 0, 0, 0],
  'GET vmm.usage': [undefined, 200, 200, 200, 200, 200],
  'GET vm.console': [undefined, 400, 400, 400, 400, 400],
  'GET vmm.operations': [undefined, 200, 200, 200, 200, 200],
  'GET vmm.operations/{id}': [undefined, 404, 404, 404, 404, 404],
  // tests/operations.test.ts cancels operations
  'DELETE vmm.operations/{id}': [undefined, 0, 0, 0, 0, 0],
  'GET vm.counters': [undefined, 404, 405, 200, 200, 405],
  'PUT vm.create': [guestConfig(), 0, 405, 405, 405, 405],
  'PUT vm.boot': [undefined, 404, 0, 405, 0, 0],
  'PUT vm.pause': [undefined, 404, 405, 0, 405, 405],
  'PUT vm.resume': [undefined, 404, 404, 405, 0, 404],
  'PUT vm.shutdown': [undefined, 404, 405, 0, 0, 405],
  'PUT vm.reboot': [undefined, 404, 405, 0, 0, 405],
  'PUT vm.power-button': [undefined, 404, 405, 0, 0, 405],
  'PUT vm.nmi': [undefined, 404, 405, 0, 405, 405],
  'PUT vmm.nmi': [undefined, 404, 405, 0, 405, 405],
  'PUT vm.delete': [undefined, 404, 0, 0, 0, 0],
  'PUT vm.resize': [{ desired_vcpus: 9 }, 404, 405, 400, 400, 405],
  'PUT vm.resize-zone': [{ id: 'none', desired_ram: 2 ** 28 }, 404, 405, 400, 400, 405],
  'PUT vm.resize-disk': [{ id: 'none', desired_size: 512 }, 404, 405, 404, 404, 405],
  'PUT vm.add-disk': [{ path: '/no/such', queue_size: 3 }, 404, 400, 400, 400, 400],
  'PUT vm.add-net': [{ mac: 'no' }, 404, 400, 400, 400, 400],
  'PUT vm.add-fs': [{ tag: 't', socket: '/no/such' }, 404, 400, 400, 400, 400],
  'PUT vm.add-pmem': [{ file: '/no/such', size: 1 }, 404, 400, 400, 400, 400],
  'PUT vm.add-vsock': [{ cid: 2 ** 33, socket: '/no/such' }, 404, 400, 400, 400, 400],
  'PUT vm.add-device': [{ path: '/no/such' }, 404, 0, 500, 500, 0],
  'PUT vm.add-user-device': [{ socket: '/no/such' }, 501, 501, 501, 501, 501],
  'PUT vm.add-vdpa': [{ path: '/no/such' }, 501, 501, 501, 501, 501],
  'PUT vm.add-generic-vhost-user': [{ socket: '/s', device_type: 1 }, 501, 501, 501, 501, 501],
  'PUT vm.remove-device': [{ id: 'none' }, 404, 404, 404, 404, 404],
  'PUT vm.snapshot': [{ destination_url: 'file:///no/such' }, 404, 405, 405, 500, 405],
  'PUT vm.coredump': [{ destination_url: 'file:///etc/hostname' }, 404, 405, 500, 500, 405],
  'PUT vm.restore': [{ source_url: 'file:///no/such' }, 500, 404, 404, 404, 404],
  'PUT vm.send-migration': [{ destination_url: 'unix:/no/such' }, 404, 405, 500, 405, 405],
  'PUT vm.receive-migration': [{ receiver_url: 'http:/no' }, 400, 405, 405, 405, 405],
  'PUT vmm.shutdown': [undefined, 0, 0, 0, 0, 0],
};

/** Brings the VM to a state from the one before it in the list. */
async function turnTo(state: State, client: StrictClient): Promise<void> {
  const steps: Readonly<Record<State, readonly (readonly [string, unknown?])[]>> = {
    none: [],
    Created: [['vm.create', guestConfig()]],
    Running: [['vm.boot']],
    Paused: [['vm.pause']],
    Shutdown: [['vm.shutdown']],
  };
  for (const [name, body] of steps[state]) assert.equal((await client.put(name, body)).status, 204, name);
}

/** An error is a list of texts, the outermost of which names the endpoint. */
function assertReadable(answer: StrictAnswer, shown: string): void {
  if (answer.status < 400) return;
  const texts: unknown = JSON.parse(answer.body ?? '');
  assert.ok(
    Array.isArray(texts) && texts.length > 1 && texts.every((text) => typeof text === 'string'),
    shown,
  );
}

async function ask(client: StrictClient, route: string, body: unknown): Promise<StrictAnswer> {
  const [method, name = ''] = route.split(' ');
  return method === 'GET' ? client.get(name) : client.put(name, body);
}

test('the table has every route of the served document', async () => {
  await using vmm = await startVmm();
  const { paths } = (await vmm.get('openapi-everything.json')).json as {
    paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  };
  const served = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.slice(1)}`),
  );
  assert.deepEqual(Object.keys(TABLE).toSorted(), served.toSorted());
});

test('each route in each state: status, framing, and an error with the reason', async () => {
  await using vmm: TestVmm = await startVmm();
  using client = await connectStrict(vmm.socket);
  const wrong: string[] = [];
  for (const [i, state] of STATES.entries()) {
    await turnTo(state, client);
    for (const [route, [body, ...statuses]] of Object.entries(TABLE)) {
      const expected = statuses[i];
      if (expected === 0) continue;
      const answer = await ask(client, route, body);
      const shown = `${state}: ${route}: ${answer.status} ${answer.body ?? ''}, not ${expected}`;
      assertReadable(answer, shown);
      if (answer.status !== expected) wrong.push(shown);
    }
    if (state !== 'none') assert.equal(await stateOf(vmm), state);
  }
  assert.deepEqual(wrong, []);
});

test('a whole lifecycle on one connection, answered without bodies', async () => {
  await using vmm = await startVmm();
  using client = await connectStrict(vmm.socket);
  const disk = join(vmm.folder, 'disk.raw');
  makeImage(disk, 2 ** 20);
  const snapshot = join(vmm.folder, 'snapshot');
  mkdirSync(snapshot);
  const life: readonly (readonly [status: number, name: string, body?: unknown])[] = [
    [204, 'vm.create', guestConfig()],
    [204, 'vm.add-disk', { path: disk, id: 'early' }],
    [204, 'vm.remove-device', { id: 'early' }],
    [204, 'vm.boot'],
    [200, 'vm.add-disk', { path: disk, id: 'late' }],
    [204, 'vm.remove-device', { id: 'late' }],
    [204, 'vm.nmi'],
    [204, 'vmm.nmi'],
    [204, 'vm.power-button'],
    [204, 'vm.reboot'],
    [204, 'vm.pause'],
    [204, 'vm.snapshot', { destination_url: `file://${snapshot}` }],
    [204, 'vm.coredump', { destination_url: `file://${join(vmm.folder, 'core')}` }],
    [204, 'vm.resume'],
    [204, 'vm.pause'],
    [204, 'vm.boot'],
    [204, 'vm.shutdown'],
    [204, 'vm.boot'],
    [204, 'vm.delete'],
    [204, 'vm.restore', { source_url: `file://${snapshot}` }],
    [204, 'vm.delete'],
    [204, 'vmm.shutdown'],
  ];
  for (const [status, name, body] of life) {
    const answer = await client.put(name, body);
    assert.equal(answer.status, status, `${name}: ${answer.body}`);
  }
  assert.equal(await vmm.exited, 0);
});
