import { setTimeout as delay } from 'node:timers/promises';
import type { EventTime, StreamNotice, VmEvent } from '../api/events.ts';
import { requestError } from './errors.ts';
import { createMessageParser } from './event-messages.ts';
import { openStream, TransportError } from './transport.ts';

/** An event of a VMM or its VM. `properties` has texts only; it is undefined for an event without properties. */
export type VmmEvent = (VmEvent | Exclude<StreamNotice, { event: 'reader-dropped' }>) & {
  /** for `after`: the events behind this one */
  readonly id: string;
  /** since the start of the VMM */
  readonly timestamp: EventTime;
};

/** Options of {@link Client.events}. */
export interface EventOptions {
  /** Id of an event, or its sequence number: begins with the events behind it. 0 begins with the oldest that the VMM keeps */
  readonly after?: string | number;
  /** Ends the events; the loop throws `TransportError` with the fault `aborted` */
  readonly signal?: AbortSignal;
  /** `false` ends after the events so far, of which all are returned without `after` */
  readonly follow?: boolean;
}

/** Time before a lost connection is made again, in milliseconds. */
const RETRY_MS = 100;

const ENDPOINT = 'vmm.events';

/** Position of a reader. */
interface Position {
  /** id of the last event; undefined before the first connection without `after` */
  id: string | undefined;
  /** the VMM has reported that it exits */
  hasEnded: boolean;
}

/** Yields the events of a VMM; see `Client.events`. */
export async function* readEvents(
  socketPath: string,
  { after, signal, follow = true }: EventOptions = {},
): AsyncGenerator<VmmEvent, void, undefined> {
  const position: Position = { id: after?.toString(), hasEnded: false };
  const options = signal === undefined ? {} : { signal };
  for (;;) {
    yield* readConnection(socketPath, position, { ...options, follow });
    if (position.hasEnded || !follow) return;
    // an aborted signal ends the next connection
    await delay(RETRY_MS, undefined, options).catch(() => undefined);
  }
}

/** Yields the events of one connection, until it ends or is lost. Throws if there is none. */
async function* readConnection(
  socketPath: string,
  position: Position,
  options: ConnectionOptions,
): AsyncGenerator<VmmEvent, void, undefined> {
  const parts = await openEvents(socketPath, position.id, options);
  const parse = createMessageParser();
  try {
    for await (const part of parts) {
      for (const { id, data } of parse(part)) {
        if (id !== '') position.id = id;
        const event = data === '' ? undefined : eventOf(id, data);
        if (event === undefined) continue;
        position.hasEnded ||= event.source === 'vmm' && event.event === 'shutdown';
        yield event;
      }
    }
  } catch (error) {
    const isLost = error instanceof TransportError && error.fault === 'io';
    if (!isLost || !options.follow) throw error;
  }
}

interface ConnectionOptions {
  readonly follow: boolean;
  readonly signal?: AbortSignal;
}

async function openEvents(
  socketPath: string,
  after: string | undefined,
  { follow, ...options }: ConnectionOptions,
): Promise<AsyncIterable<string>> {
  const query = new URLSearchParams({ follow: String(follow) });
  if (after !== undefined) query.set('after', after);
  const path = `/api/v1/${ENDPOINT}?${query.toString()}`;
  const { status, parts } = await openStream({ socketPath, method: 'GET', path, ...options });
  if (status !== 200) throw requestError(ENDPOINT, status, await textOf(parts));
  return parts;
}

async function textOf(parts: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const part of parts) text += part;
  return text;
}

/** Returns the event of a message; undefined for the end of a reader that was too slow, which connects again. */
function eventOf(id: string, data: string): VmmEvent | undefined {
  // the VMM has written it
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { properties, ...rest } = JSON.parse(data) as Written;
  if (rest.event === 'reader-dropped') return undefined;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { id, ...rest, ...(properties === null ? {} : { properties }) } as VmmEvent;
}

/** An event as the VMM writes it. */
interface Written {
  readonly timestamp: EventTime;
  readonly source: string;
  readonly event: string;
  readonly properties: Readonly<Record<string, string>> | null;
}
