import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { NotifyMessage } from '../../sdk/notify/message.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('run');

/** Events of a VM in its directory, in the format of the event monitor of a VMM: JSON objects and empty lines. */
export interface EventsFile extends AsyncDisposable {
  /** Copies the events of a VMM until they end. A second call with the same stream does nothing. */
  readonly record: (events: Readable) => void;
  /** Adds a report of the guest's service manager, as an event of the source `guest`. Those of progress alone, two a second, are left out. */
  readonly addReport: (message: NotifyMessage) => void;
}

/** Opens the events file of a VM. One that cannot be written is left incomplete. */
export function createEventsFile(path: string): EventsFile {
  const file = createWriteStream(path, { flags: 'a', mode: 0o600 });
  let isOpen = true;
  file.on('error', (error) => {
    isOpen = false;
    log.warn(`${path}: ${reasonOf(error)}`);
  });
  const write = (text: string): void => {
    if (isOpen) file.write(text);
  };
  const recorded = new WeakSet<Readable>();
  const startedAt = performance.now();
  return {
    record: (events) => {
      if (recorded.has(events)) return;
      recorded.add(events);
      copyWholeEvents(events, write);
    },
    addReport: (message) => {
      if (Object.keys(message).every((name) => name === 'status')) return;
      write(`${JSON.stringify(reportEvent(message, performance.now() - startedAt), undefined, 2)}\n\n`);
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        isOpen = false;
        file.end(() => resolve());
        if (file.destroyed) resolve();
        else file.once('close', () => resolve());
      }),
  };
}

/** Copies whole events only, so that a report is never inside one. */
function copyWholeEvents(events: Readable, write: (text: string) => void): void {
  const decoder = new StringDecoder('utf8');
  let text = '';
  events
    .on('data', (bytes: Buffer) => {
      text += decoder.write(bytes);
      const end = text.lastIndexOf('\n\n');
      if (end < 0) return;
      write(text.slice(0, end + 2));
      text = text.slice(end + 2);
    })
    // the exit of the process reports the rest
    .on('error', () => undefined);
}

const NANOSECONDS = 1e9;

/** Returns a report as an event. `ms`: time since the start of the run */
export function reportEvent(message: NotifyMessage, ms: number): Readonly<Record<string, unknown>> {
  const nanos = Math.floor(ms * 1e6);
  return {
    timestamp: { secs: Math.floor(nanos / NANOSECONDS), nanos: nanos % NANOSECONDS },
    source: 'guest',
    event: message.isReady === true ? 'ready' : message.shutdown === undefined ? 'report' : 'shutdown',
    properties: Object.fromEntries(
      Object.entries(message)
        .filter(([name]) => name !== 'isReady')
        .map(([name, value]) => [name, String(value)]),
    ),
  };
}
