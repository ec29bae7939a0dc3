import { ApiError } from '../../api/errors.ts';
import { EVENT_ID } from '../../api/stream-routes.ts';
import type { StreamHandler, StreamRequest, StreamSink } from '../../api/route.ts';
import { eventRecord, type EventRecord } from '../../host/system/event-monitor.ts';
import { preview } from '../../util/clip.ts';
import { createLog } from '../../util/log.ts';
import type { Journal, JournalEntry } from './journal.ts';

/*
 * Server-sent events (WHATWG HTML, section 9.2): the journal as a stream for any number of readers.
 *
 * The id of an event is its sequence number and the name of the VMM's run, `12-5f0c9a3e`, so that an id of another run is noticed. `event`
 * is its name, `data` the JSON of the event monitor on one line. `gap` events and `reader-dropped` are about the stream and not in the
 * journal.
 *
 * Invariant: a reader gets each event behind its first one exactly once, in order, until it is dropped.
 */

const log = createLog('event');

/** Interval of heartbeats, in milliseconds. */
const HEARTBEAT_MS = 15_000;

/** Most bytes of events that wait for one reader: that of the event monitor. */
const QUEUED_MAX = 2 ** 20;

/** Time after which a client connects again, in milliseconds. */
const RETRY_MS = 1000;

const TOO_SLOW = `more than ${QUEUED_MAX} bytes of events waited for it`;

const HEARTBEAT = Buffer.from(':\n\n');

/** Position of a reader: the last event that it has. */
interface Position {
  readonly sequence: number;
  /** undefined: that of this VMM */
  readonly run: string | undefined;
}

type Properties = Readonly<Record<string, string>>;

/** A reader of the journal. */
interface Reader {
  readonly journal: Journal;
  readonly encode: (entry: JournalEntry) => Uint8Array;
  readonly after: Position;
  /** false: the stream ends after the kept events */
  readonly follows: boolean;
  readonly heartbeatMs: number;
}

/** Returns the handler of `vmm.events`. */
export function eventStream(journal: Journal, heartbeatMs = HEARTBEAT_MS): StreamHandler {
  const encode = createEncoder(journal.run);
  return (request) => {
    const follows = readFollow(request.query);
    const after = readPosition(request) ?? { sequence: follows ? journal.last() : 0, run: undefined };
    return (sink, signal) => send({ journal, encode, after, follows, heartbeatMs }, sink, signal);
  };
}

async function send(reader: Reader, sink: StreamSink, signal: AbortSignal): Promise<void> {
  const { journal, encode, after } = reader;
  const isOfThisRun =
    (after.run === undefined || after.run === journal.run) && after.sequence <= journal.last();
  const from = isOfThisRun ? after.sequence : 0;
  const entries = journal.after(from);
  const start = (entries[0]?.sequence ?? journal.last() + 1) - 1;
  // with an id from the start, a client that connects again before the first event misses none
  const head = `retry: ${RETRY_MS}\nid: ${idOf(start, journal.run)}\n`;
  const gap = gapOf(reader, { isOfThisRun, from, start });
  sink.write(Buffer.from(`${head}${gap === undefined ? '\n' : notice(journal, 'gap', gap)}`));
  for (const entry of entries) sink.write(encode(entry));
  if (reader.follows) await follow(reader, sink, signal);
}

/** Returns the events that the reader misses: those that were overwritten, and those of an earlier run, whose number is not known. */
function gapOf(
  { after: { sequence, run } }: Reader,
  { isOfThisRun, from, start }: { isOfThisRun: boolean; from: number; start: number },
): Properties | undefined {
  const missing: Properties = start > from ? { from: String(from + 1), to: String(start) } : {};
  if (isOfThisRun) return start > from ? { reason: 'overwritten', ...missing } : undefined;
  const after = run === undefined ? String(sequence) : idOf(sequence, run);
  return { reason: 'restarted', after, ...missing };
}

/** Sends events as they come, until the signal aborts or the reader is dropped. */
function follow(
  { journal, encode, heartbeatMs }: Reader,
  sink: StreamSink,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      stop();
      clearInterval(timer);
      resolve();
    };
    const stop = journal.follow((entry) => {
      const bytes = encode(entry);
      if (sink.queuedBytes + bytes.length <= QUEUED_MAX) return sink.write(bytes);
      log.warn(`a reader of events was dropped: ${TOO_SLOW}`);
      sink.discard();
      sink.write(Buffer.from(notice(journal, 'reader-dropped', { reason: TOO_SLOW })));
      end();
    });
    const timer = setInterval(() => {
      if (sink.queuedBytes === 0) sink.write(HEARTBEAT);
    }, heartbeatMs).unref();
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
  });
}

/** @throws ApiError for an id that is none of an event */
function readPosition({ query, header }: StreamRequest): Position | undefined {
  const text = header('last-event-id') || query.get('after');
  if (text === null) return undefined;
  const [, sequence, run] = EVENT_ID.exec(text) ?? [];
  if (sequence === undefined)
    throw new ApiError(
      'bad-request',
      `${preview(text)} is not the id of an event, such as 12 or 12-5f0c9a3e`,
    );
  return { sequence: Number(sequence), run };
}

/** @throws ApiError */
function readFollow(query: URLSearchParams): boolean {
  const text = query.get('follow') ?? 'true';
  if (text === 'true' || text === 'false') return text === 'true';
  throw new ApiError('bad-request', `follow is ${preview(text)}, it must be true or false`);
}

/** Returns a function that encodes an event once for all readers. */
function createEncoder(run: string): Reader['encode'] {
  const known = new WeakMap<JournalEntry, Uint8Array>();
  // has memory of its own: a small Buffer would keep the whole of Node's pool of 8 KiB for one event
  const encoder = new TextEncoder();
  return (entry) => {
    const before = known.get(entry);
    if (before !== undefined) return before;
    const { sequence, elapsedMs, event } = entry;
    const bytes = encoder.encode(`id: ${idOf(sequence, run)}\n${messageOf(eventRecord(event, elapsedMs))}`);
    known.set(entry, bytes);
    return bytes;
  };
}

/** Returns an event about the stream itself, which has no sequence number. */
function notice(journal: Journal, event: string, properties: Properties): string {
  return messageOf(eventRecord({ source: 'vmm', event, properties }, journal.elapsedMs()));
}

/** JSON has no line breaks outside of strings, where they are escaped. */
function messageOf(record: EventRecord): string {
  return `event: ${record.event}\ndata: ${JSON.stringify(record)}\n\n`;
}

function idOf(sequence: number, run: string): string {
  return `${sequence}-${run}`;
}
