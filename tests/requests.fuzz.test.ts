// Ten thousand requests made from the schema, and large ones, to a VMM with a running guest and to one without.
import assert from 'node:assert/strict';
import { assertStatus } from './support/answers.ts';
import { boot, deleteVm } from './support/boot.ts';
import { withoutStalls } from './support/event-loop-stalls.ts';
import { mkfifoSync } from './support/fifo.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { largeBodies } from './support/large-bodies.ts';
import { bodiesFor, type Body, type Pool } from './support/request-bodies.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Arbitrary } from 'fast-check';
import { allAnswers } from '../src/api/answers.ts';
import type { RouteDefinition } from '../src/api/route.ts';
import { ROUTES } from '../src/api/routes.ts';

const REQUESTS = 10_000;
/** Requests at once, so that changes and reads overlap. */
const ABREAST = 4;
/** Limit of an answer, in bytes. */
const ANSWER_MAX = 2 ** 20;
const SEED = Number(process.env['NEPHOS_FUZZ_SEED'] ?? '20261124');
/** Requests that end the guest, the VM or the VMM: later ones would have no effect. */
const ENDINGS = new Set(['vm.shutdown', 'vm.delete', 'vm.reboot', 'vm.power-button', 'vmm.shutdown']);
/** Requests that must reach QEMU at least once. */
const CHANGES = ['vm.pause', 'vm.resume', 'vm.resize', 'vm.add-net', 'vm.remove-device'];
/** Texts that only a fault of the VMM has. */
const OURS =
  /TypeError|RangeError|ReferenceError|is not a function|Cannot read|undefined|\[object |node:internal/;

/** The status codes that the document of everything has for each endpoint. */
const STATUSES = new Map(
  Object.entries<RouteDefinition>(ROUTES).map(([name, route]) => [
    name,
    new Set(Object.keys(allAnswers(route)).map(Number)),
  ]),
);

interface Sent {
  readonly name: string;
  readonly method: string;
  readonly body: Body | undefined;
}

interface Outgoing extends Omit<Sent, 'body'> {
  readonly body: Body | Buffer | undefined;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

test('7,000 requests to a running guest', async () => {
  const metrics = metricsPath();
  await using vmm = await startVmm({ args: ['--metrics', metrics] });
  const all = fc.sample(
    requests(vmm, (name) => !ENDINGS.has(name)),
    { numRuns: 0.7 * REQUESTS, seed: SEED },
  );
  const cpus = { boot_vcpus: 1, max_vcpus: 2 };
  let shell = await boot(vmm, { cpus });
  try {
    await withoutStalls(metrics, {
      act: () => sendAll(vmm, all),
      // a new VM for each further attempt: the devices of the attempt before would take all PCI slots
      again: async () => {
        shell[Symbol.dispose]();
        await deleteVm(vmm);
        shell = await boot(vmm, { cpus });
      },
    });
    if (!JSON.stringify((await vmm.get('vm.info')).json).includes('"Running"')) {
      assertStatus(await vmm.put('vm.resume'), 204);
    }
    assert.equal(await shell.run('echo still here'), 'still here');
  } finally {
    shell[Symbol.dispose]();
  }
  assertUnharmed(vmm);
});

test('3,000 requests to a VMM whose VM is created and deleted', async () => {
  await using vmm = await startVmm();
  const wanted = [
    'vm.create',
    'vm.create',
    'vm.delete',
    'vm.info',
    'vm.restore',
    'vm.add-disk',
    'vm.add-net',
  ];
  const made = requests(vmm, (name) => wanted.includes(name), wanted);
  await sendAll(vmm, fc.sample(made, { numRuns: 0.3 * REQUESTS, seed: SEED }));
  assertStatus(await vmm.get('vmm.ping'), 200);
  assertUnharmed(vmm);
});

test('large requests do not block the event loop, with a VM and without', async () => {
  const metrics = metricsPath();
  await using vmm = await startVmm({ args: ['--metrics', metrics] });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  // each request once before the measurement: the cost of a first request does not depend on its size
  for (const text of ['{}', 'x', '{"disks":1}']) await sendTo(vmm, agent, 'vm.create', Buffer.from(text));
  for (const created of [false, true]) {
    if (created) assertStatus(await vmm.put('vm.create', guestConfig({})), 204);
    const act = async (): Promise<void> => {
      for (const name of ['vm.create', 'vm.add-net', 'vm.restore', 'vm.receive-migration', 'vm.boot']) {
        for (const [what, body] of largeBodies()) {
          const { status, text } = await sendTo(vmm, agent, name, body);
          assert.ok(text.length < 20_000, `${name}, ${what}: ${status}, ${text.length} bytes`);
          // unknown names are allowed
          if (name === 'vm.create' && status === 204) {
            const info = { name: 'vm.info', method: 'GET', body: undefined };
            assert.equal((await send(vmm.socket, agent, info)).status, 200);
            assertStatus(await vmm.put('vm.delete'), 204);
          } else assert.ok(status < 500, `${name}, ${what}: ${status} ${text}`);
        }
      }
    };
    await withoutStalls(metrics, { act });
  }
  agent.destroy();
  assertStatus(await vmm.get('vmm.ping'), 200);
  assertUnharmed(vmm);
});

test('a request is refused by state before its body is parsed', async () => {
  await using vmm = await startVmm();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const add = await sendTo(vmm, agent, 'vm.add-disk', Buffer.from('{"path":'));
  assert.equal(add.status, 404, add.text);
  assertStatus(await vmm.put('vm.create', guestConfig({})), 204);
  const create = await sendTo(vmm, agent, 'vm.create', Buffer.from('{"disks":1'));
  assert.equal(create.status, 405, create.text);
  agent.destroy();
});

function metricsPath(): string {
  return join(makeFolder(), 'metrics');
}

function sendTo(vmm: TestVmm, agent: Agent, name: string, body: Buffer): Promise<Answer> {
  return send(vmm.socket, agent, { name, method: 'PUT', body });
}

function assertUnharmed(vmm: TestVmm): void {
  assert.doesNotMatch(vmm.output(), /unexpected:|could not be answered|node:internal/);
}

function requests(
  vmm: TestVmm,
  isWanted: (name: string) => boolean,
  names = Object.keys(ROUTES),
): Arbitrary<Sent> {
  const pool = poolIn(vmm.folder);
  const routes = Object.entries<RouteDefinition>(ROUTES);
  const made = names.filter(isWanted).flatMap((name): Arbitrary<Sent>[] => {
    const route = routes.find(([one]) => one === name)?.[1];
    if (route?.implemented !== true) return [];
    const { method, request: schema } = route;
    if (schema === undefined || !('fields' in schema))
      return [fc.constant({ name, method, body: undefined })];
    return [bodiesFor(schema, pool).map((body) => ({ name, method, body }))];
  });
  return fc.oneof(...made);
}

/** Paths of an image, of other files, and of none. */
function poolIn(folder: string): Pool {
  const image = join(folder, 'disk, "a" é.raw');
  makeImage(image, 4 * 2 ** 20);
  const fifo = join(folder, 'fifo');
  mkfifoSync(fifo);
  return {
    // ids of the VM's devices are among them: each may be removed
    names: ['a', 'fz0', 'ü', 'a'.repeat(16), ...Array.from({ length: 20 }, (_, i) => `_net${i}`)],
    paths: [image, folder, fifo, join(folder, 'missing'), '/dev/null', '/dev/zero', `/${'x'.repeat(300)}`],
  };
}

async function sendAll(vmm: TestVmm, all: readonly Sent[]): Promise<void> {
  const done = new Set<string>();
  /** last refusal of each kind of request */
  const refused = new Map<string, string>();
  const agent = new Agent({ keepAlive: true, maxSockets: ABREAST });
  const rest = all.values();
  const work = async (): Promise<void> => {
    for (const one of rest) {
      const answer = await send(vmm.socket, agent, one);
      check(one, answer);
      if (answer.status < 300) done.add(one.name);
      else if (one.body?.kind === 'valid') refused.set(one.name, `${answer.status} ${answer.text}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: ABREAST }, work));
  } finally {
    agent.destroy();
  }
  // otherwise all requests could have been refused early
  const wanted = ['vm.info', ...(all.some(({ name }) => name === 'vm.resize') ? CHANGES : ['vm.create'])];
  const missing = wanted.filter((name) => !done.has(name));
  const reasons = missing.map((name) => `${name} (last refused with ${refused.get(name)?.slice(0, 300)})`);
  assert.deepEqual(missing, [], `never done: ${reasons.join(', ')}; done: ${[...done].join(', ')}`);
}

function check({ name, body }: Sent, { status, text }: Answer): void {
  const what = `${name} ${body?.text.slice(0, 500) ?? ''} answered ${status} ${text}`;
  assert.ok(STATUSES.get(name)?.has(status), `${what}: the document has no such status`);
  assert.ok(text.length < ANSWER_MAX, `${name} was answered with ${text.length} bytes`);
  if (status >= 400) assert.ok(text !== '' && !OURS.test(text.replaceAll(body?.text ?? '\0', '')), what);
  // a body that is no object never reaches QEMU
  if (body?.kind === 'hostile' && !body.text.startsWith('{')) assert.notEqual(status, 500, what);
}

function send(socketPath: string, agent: Agent, { name, method, body }: Outgoing): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath, agent, method, path: `/api/v1/${name}`, timeout: 90_000 },
      (incoming) => {
        let text = '';
        incoming.setEncoding('utf8');
        incoming.on('data', (part: string) => (text += part));
        incoming.on('error', reject);
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text }));
      },
    );
    outgoing.on('timeout', () =>
      outgoing.destroy(new Error(`${name} ${String(textOf(body)).slice(0, 500)}: no answer`)),
    );
    outgoing.on('error', reject);
    outgoing.end(textOf(body));
  });
}

function textOf(body: Outgoing['body']): string | Buffer | undefined {
  return Buffer.isBuffer(body) ? body : body?.text;
}
