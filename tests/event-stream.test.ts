// Events over the API: many readers and a stalled one, positions, the exit of the VMM, the SDK and ch-remote. No guest:
// tests/events.test.ts compares the events of one with those of its event monitor.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { STREAM_ROUTES } from '../src/api/stream-routes.ts';
import { serve } from '../src/http/server.ts';
import { Client, RequestError, TransportError, type VmmEvent } from '../src/sdk/index.ts';
import { createCleanupStack } from '../src/util/cleanup-stack.ts';
import { eventStream } from '../src/vm/observe/event-stream.ts';
import { createJournal, type Journal } from '../src/vm/observe/journal.ts';
import { assertStatus } from './support/answers.ts';
import { guestConfig } from './support/guest.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until, within } from './support/wait.ts';

const GET = 'GET /api/v1/vmm.events?after=0 HTTP/1.0\r\n\r\n';

/** A reader that keeps the ids and the last message of its stream. */
interface RawReader extends Disposable {
  readonly socket: Socket;
  readonly numbers: number[];
  readonly last: () => string;
}

async function openReader(path: string, request = GET): Promise<RawReader> {
  const socket = connect(path);
  await once(socket, 'connect');
  const numbers: number[] = [];
  let rest = '';
  let last = '';
  socket.setEncoding('utf8').on('data', (part: string) => {
    const messages = (rest + part).split('\n\n');
    rest = messages.pop() ?? '';
    for (const message of messages) {
      const [, number] = /^id: (\d+)-[\da-f]{8}\nevent: /.exec(message) ?? [];
      if (number !== undefined) numbers.push(Number(number));
      last = message;
    }
  });
  socket.on('error', () => undefined);
  socket.write(request);
  return { socket, numbers, last: () => last, [Symbol.dispose]: () => socket.destroy() };
}

/** Serves the events of a journal in this process. */
async function serveJournal(): Promise<AsyncDisposable & { path: string; journal: Journal }> {
  const journal = createJournal();
  const path = join(makeFolder(), 'api');
  const streams = new Map([
    ['vmm.events', { route: STREAM_ROUTES['vmm.events'], handle: eventStream(journal) }],
  ]);
  const ping = {
    route: { method: 'GET', body: 'ignored', decode: () => undefined },
    handle: async () => ({}),
  } as const;
  const server = await serve({ listen: { path }, endpoints: new Map([['vmm.ping', ping]]), streams });
  return { path, journal, [Symbol.asyncDispose]: () => server.close(0) };
}

test('10,000 events to 50 readers: a stalled one is dropped, others get all in order', async () => {
  await using server = await serveJournal();
  const { journal, path } = server;
  await using owned = createCleanupStack();
  const stalled = owned.use(await openReader(path));
  stalled.socket.pause();
  const readers: RawReader[] = [];
  for (let i = 1; i < 50; i++) readers.push(owned.use(await openReader(path)));
  const client = new Client(path);
  await client.call('vmm.ping');
  for (let i = 1; i <= 10_000; i++) {
    journal.append({ source: 'vm', event: 'crashed', properties: { reason: `event ${i}` } });
    if (i % 100 === 0) await turn();
    if (i % 2500 === 0) await within(10_000, 'vmm.ping', () => client.call('vmm.ping'));
  }
  const expected = Array.from({ length: 10_000 }, (_, i) => i + 1);
  await until('all have read', () => readers.every(({ numbers }) => numbers.length >= 10_000));
  for (const { numbers } of readers) assert.deepEqual(numbers, expected);
  stalled.socket.resume();
  await once(stalled.socket, 'end');
  const { numbers } = stalled;
  assert.deepEqual(numbers, expected.slice(0, numbers.length), 'the events before the end are in order');
  assert.ok(numbers.length > 100 && numbers.length < 10_000, String(numbers.length));
  assert.match(stalled.last(), /^event: reader-dropped\ndata: .*more than 1048576 bytes of events waited/);
});

test('a client of the SDK that is too slow connects again, and is told the gap', async () => {
  await using server = await serveJournal();
  const { journal, path } = server;
  const numbers: number[] = [];
  const gaps: VmmEvent[] = [];
  journal.append({ source: 'vmm', event: 'starting' });
  for await (const event of new Client(path).events({ after: 0 })) {
    if (event.source === 'vmm' && event.event === 'shutdown') break;
    if (event.event === 'gap') gaps.push(event);
    else numbers.push(Number.parseInt(event.id, 10));
    if (numbers.length > 1) continue;
    // while this loop is in its body, nothing is read
    for (let i = 0; i < 20_000; i++) journal.append({ source: 'vm', event: 'watchdog' });
    journal.append({ source: 'vmm', event: 'shutdown' });
  }
  const [gap] = gaps;
  assert.ok(gaps.length === 1 && gap?.event === 'gap' && gap.properties.reason === 'overwritten');
  const { from, to } = gap.properties;
  const missing = numbers.findIndex((number, i) => number !== i + 1);
  assert.deepEqual([from, to], [String(missing + 1), String(20_002 - 1024)]);
  assert.equal(numbers.length, 20_001 - (Number(to) - Number(from) + 1));
});

/** Makes events `deleted` without a guest. */
async function makeEvents(vmm: TestVmm, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    assertStatus(await vmm.put('vm.create', guestConfig()), 204);
    assertStatus(await vmm.put('vm.delete'), 204);
  }
}

/** Collects the events of a loop until it ends. */
async function collect(events: AsyncIterable<VmmEvent>): Promise<VmmEvent[]> {
  const all: VmmEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const run = promisify(execFile);

test('events of a VMM, to its end', async (t) => {
  await using vmm = await startVmm();
  const remote = (...words: string[]): Promise<{ stdout: string }> =>
    run('bin/ch-remote', ['--api-socket', vmm.socket, ...words]);
  const followers = Array.from({ length: 5 }, () => collect(vmm.client.events({ after: 0 })));
  const printed = remote('events', '--follow');
  using stalled = await openReader(vmm.socket);
  stalled.socket.pause();
  await makeEvents(vmm, 300);

  await t.test('a second reader continues behind an id', async () => {
    const all = await collect(vmm.client.events({ follow: false }));
    assert.deepEqual(
      all.map(({ id }) => Number.parseInt(id, 10)),
      Array.from({ length: 301 }, (_, i) => i + 1),
    );
    assert.deepEqual(
      all.map(({ source, event }) => `${source} ${event}`),
      ['vmm starting', ...Array.from({ length: 300 }, () => 'vm deleted')],
    );
    const [third] = all.slice(2);
    assert.deepEqual(
      await collect(vmm.client.events({ after: third?.id ?? '', follow: false })),
      all.slice(3),
    );
    assert.deepEqual(await collect(vmm.client.events({ after: 299, follow: false })), all.slice(299));
  });
  await t.test('ch-remote events prints the members of the event monitor, a line each', async () => {
    const { stdout } = await remote('events');
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.length, 301);
    const first: unknown = JSON.parse(lines[0] ?? '');
    assert.ok(typeof first === 'object' && first !== null);
    assert.deepEqual(Object.keys(first), ['timestamp', 'source', 'event', 'properties']);
  });
  await t.test('an id that is none is refused', async () => {
    const refused = collect(vmm.client.events({ after: 'x' }));
    await assert.rejects(refused, (error) => error instanceof RequestError && error.status === 400);
  });
  await t.test('a signal ends a loop, before and after its first event', async () => {
    for (const after of [0, 301]) {
      const controller = new AbortController();
      const events = vmm.client.events({ after, signal: controller.signal });
      if (after === 0) await events.next();
      const next = collect(events);
      setImmediate(() => controller.abort());
      await assert.rejects(next, (error) => error instanceof TransportError && error.fault === 'aborted');
    }
  });
  await t.test('the reader that left is noticed without an event', async () => {
    const events = vmm.client.events({ after: 0 });
    await events.next();
    await events.return();
    await until('its connection is closed', async () => (await connectionsOf(vmm)) <= 7);
  });

  assertStatus(await vmm.put('vmm.shutdown'), 204);
  await within(10_000, 'the exit', () => vmm.exited);
  assert.equal(await vmm.exited, 0);
  await t.test('each stream ends behind the shutdown of the VMM', async () => {
    const [first, ...others] = await Promise.all(followers);
    assert.equal(first?.length, 302);
    assert.deepEqual([first.at(-1)?.source, first.at(-1)?.event], ['vmm', 'shutdown']);
    for (const other of others) assert.deepEqual(other, first);
    const lines = (await printed).stdout.trimEnd().split('\n');
    assert.equal(lines.length, 302);
    assert.match(lines.at(-1) ?? '', /"source":"vmm","event":"shutdown"/);
  });
});

/** Returns the number of clients that are connected to a VMM. */
async function connectionsOf({ socket }: TestVmm): Promise<number> {
  const { stdout } = await run('cat', ['/proc/net/unix']);
  // the socket that listens has the path too
  return stdout.split('\n').filter((line) => line.endsWith(` ${socket}`)).length - 1;
}

test('the events of a VMM that is killed, and of the next one on its socket', async () => {
  const socket = join(makeFolder(), 'api.sock');
  let last = '';
  {
    await using first = await startVmm({ socket });
    const events = first.client.events({ after: 0 });
    last = (await events.next()).value?.id ?? '';
    first.kill('SIGKILL');
    await assert.rejects(
      events.next(),
      (error) => error instanceof TransportError && error.fault === 'connect',
    );
  }
  await using second = await startVmm({ socket });
  const all = await collect(second.client.events({ after: last, follow: false }));
  assert.deepEqual(
    all.map(({ event, ...rest }) => [event, 'properties' in rest ? rest.properties : undefined]),
    [
      ['gap', { reason: 'restarted', after: last }],
      ['starting', undefined],
    ],
  );
});
