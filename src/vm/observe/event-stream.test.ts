import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../api/errors.ts';
import type { StreamSink } from '../../api/route.ts';
import { eventStream } from './event-stream.ts';
import { createJournal, type Journal } from './journal.ts';

/** A reader whose client reads all at once, or nothing at all. */
interface TestReader extends AsyncDisposable {
  /** Returns the messages that were sent, each as its lines. */
  readonly messages: () => string[][];
  readonly text: () => string;
  readonly abort: () => void;
  readonly ended: Promise<void>;
}

interface Asked {
  readonly path?: string;
  readonly lastId?: string;
  readonly isStalled?: boolean;
  readonly heartbeatMs?: number;
}

function read(
  journal: Journal,
  { path = '', lastId, isStalled = false, heartbeatMs }: Asked = {},
): TestReader {
  let text = '';
  let queued: Uint8Array[] = [];
  const sink: StreamSink = {
    get queuedBytes() {
      return isStalled ? queued.reduce((sum, { length }) => sum + length, 0) : 0;
    },
    write: (bytes) => {
      queued.push(bytes);
      text += Buffer.from(bytes).toString();
    },
    discard: () => {
      queued = [];
      text = '';
    },
  };
  const query = new URLSearchParams(path);
  const send = eventStream(
    journal,
    heartbeatMs,
  )({
    query,
    header: (name) => (name === 'last-event-id' ? lastId : undefined),
  });
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const ended = send(sink, controller.signal);
  const messages = (): string[][] =>
    text
      .split('\n\n')
      .filter((one) => one !== '')
      .map((one) => one.split('\n'));
  return {
    messages,
    text: () => text,
    abort,
    ended,
    [Symbol.asyncDispose]: () => {
      abort();
      return ended;
    },
  };
}

function journalOf(count: number, kept?: number): Journal {
  const journal = createJournal(kept);
  for (let i = 0; i < count; i++) journal.append({ source: 'vm', event: 'watchdog' });
  return journal;
}

const ids = (reader: TestReader): string[] =>
  reader
    .messages()
    .flat()
    .filter((line) => line.startsWith('id: '));

/** Returns the properties of the events of a name. */
function properties(reader: TestReader, name: string): unknown[] {
  return reader
    .messages()
    .filter((lines) => lines.includes(`event: ${name}`))
    .map((lines) => {
      const data = lines.find((line) => line.startsWith('data: ')) ?? '';
      return (JSON.parse(data.slice(6)) as { properties: unknown }).properties;
    });
}

test('an event is one message: id, name, and the event monitor’s members as JSON', async () => {
  const journal = createJournal();
  await using reader = read(journal);
  journal.append({
    source: 'vm',
    event: 'crashed',
    properties: { reason: 'QEMU: "bad"\nsecond line\r\n\n ü \u{1f600}' },
  });
  const [, message, ...rest] = reader.messages();
  assert.ok(message !== undefined && rest.length === 0, reader.text());
  const [id, name, data, ...further] = message;
  assert.deepEqual([id, name, further], [`id: 1-${journal.run}`, 'event: crashed', []]);
  const json: unknown = JSON.parse(data?.replace('data: ', '') ?? '');
  assert.ok(typeof json === 'object' && json !== null && 'timestamp' in json);
  assert.deepEqual(Object.keys(json), ['timestamp', 'source', 'event', 'properties']);
  assert.deepEqual(Object.keys(json.timestamp ?? {}), ['secs', 'nanos']);
  assert.deepEqual(
    { ...json, timestamp: 0 },
    {
      timestamp: 0,
      source: 'vm',
      event: 'crashed',
      properties: { reason: 'QEMU: "bad"\nsecond line\r\n\n ü \u{1f600}' },
    },
  );
});

test('a stream begins with the time to wait and the id before its first event', async () => {
  const journal = journalOf(3);
  await using reader = read(journal);
  assert.equal(reader.text(), `retry: 1000\nid: 3-${journal.run}\n\n`);
});

for (const [what, asked] of [
  ['query', { path: 'after=2' }],
  ['header', { lastId: '2' }],
  ['header, which has precedence over a query', { path: 'after=0', lastId: '2' }],
  ['query with an empty header', { path: 'after=2', lastId: '' }],
] as const) {
  test(`kept events behind an id are repeated: ${what}`, async () => {
    const journal = journalOf(4);
    await using reader = read(journal, asked);
    journal.append({ source: 'vm', event: 'booted' });
    assert.deepEqual(
      ids(reader),
      [2, 3, 4, 5].map((one) => `id: ${one}-${journal.run}`),
    );
  });
}

test('an id with the name of this run is accepted', async () => {
  const journal = journalOf(4);
  await using reader = read(journal, { lastId: `3-${journal.run}` });
  assert.deepEqual(properties(reader, 'gap'), []);
  assert.deepEqual(ids(reader).slice(1), [`id: 4-${journal.run}`]);
});

test('events that were overwritten are a gap with its range', async () => {
  const journal = journalOf(20, 4);
  await using reader = read(journal, { path: 'after=5' });
  assert.deepEqual(properties(reader, 'gap'), [{ reason: 'overwritten', from: '6', to: '16' }]);
  assert.deepEqual(
    ids(reader),
    [16, 17, 18, 19, 20].map((one) => `id: ${one}-${journal.run}`),
  );
});

for (const [what, id, kept, gap] of [
  ['of another run', '3-00000000', 1024, { reason: 'restarted', after: '3-00000000' }],
  ['that is not reached yet', '9', 1024, { reason: 'restarted', after: '9' }],
  ['of another run', '0-00000000', 4, { reason: 'restarted', after: '0-00000000', from: '1', to: '2' }],
] as const) {
  test(`an id ${what} is a gap, and all ${kept} kept events follow`, async () => {
    const journal = journalOf(6, kept);
    await using reader = read(journal, { path: `after=${id}` });
    assert.deepEqual(properties(reader, 'gap'), [gap]);
    assert.equal(properties(reader, 'watchdog').length, Math.min(6, kept));
  });
}

for (const id of ['x', '-1', '1.5', '1-', '1-xyz', '1-0000000', ' 1', '1, 2', '9'.repeat(16), '1\n']) {
  test(`${JSON.stringify(id)} is refused as an id`, () => {
    for (const asked of [{ lastId: id }, { path: new URLSearchParams({ after: id }).toString() }]) {
      assert.throws(
        () => read(createJournal(), asked),
        (error) =>
          error instanceof ApiError && error.code === 'bad-request' && /id of an event/.test(error.message),
      );
    }
  });
}

test('follow=false ends the stream after the kept events, all without an id', async () => {
  const journal = journalOf(5);
  for (const [path, count] of [
    ['follow=false', 5],
    ['follow=false&after=3', 2],
    ['follow=false&after=5', 0],
  ] as const) {
    await using reader = read(journal, { path });
    await reader.ended;
    assert.equal(properties(reader, 'watchdog').length, count, path);
  }
  assert.throws(() => read(journal, { path: 'follow=no' }), /must be true or false/);
});

test('heartbeats are sent to a reader that is idle', async () => {
  await using reader = read(createJournal(), { heartbeatMs: 1 });
  while (!reader.text().endsWith('\n\n:\n\n:\n\n')) await new Promise((resolve) => setTimeout(resolve, 1));
});

test('a stalled reader is dropped with a reason and a bounded queue; others get each event', async () => {
  const journal = createJournal();
  await using other = read(journal);
  await using stalled = read(journal, { isStalled: true, heartbeatMs: 1 });
  let most = 0;
  for (let i = 0; i < 10_000; i++) {
    journal.append({ source: 'vm', event: 'watchdog' });
    most = Math.max(most, stalled.text().length);
  }
  await stalled.ended;
  assert.ok(most <= 2 ** 20 && most > 2 ** 19, String(most));
  assert.deepEqual(properties(stalled, 'reader-dropped'), [
    { reason: 'more than 1048576 bytes of events waited for it' },
  ]);
  // the id stays that of the last event which the client has received
  assert.deepEqual(ids(stalled), []);
  assert.equal(properties(other, 'watchdog').length, 10_000);
});

test('an aborted signal ends the stream and its timer', async () => {
  const journal = createJournal();
  const reader = read(journal, { heartbeatMs: 1 });
  reader.abort();
  await reader.ended;
  const before = reader.text();
  journal.append({ source: 'vm', event: 'watchdog' });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(reader.text(), before);
});
