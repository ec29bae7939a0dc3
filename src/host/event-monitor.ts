import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { codeOf, reasonOf } from '../util/errno.ts';
import { createLog } from '../util/log.ts';
import { loadNative } from '../util/native.ts';

const log = createLog('event');

const F_GETFL = 3;
const F_SETFL = 4;

/** Where events are recorded: a file or FIFO, or a descriptor that was inherited. */
export type MonitorTarget = { readonly path: string } | { readonly fd: number };

/** What is recorded of an event. */
export interface MonitoredEvent {
  readonly source: string;
  readonly event: string;
  readonly properties?: Readonly<Record<string, string>>;
}

/** A stream of events for another program (reference/events.md 2). */
export interface EventMonitor extends Disposable {
  /** Records an event, with the time since the monitor was opened. Nobody who reads slowly holds the VM up: it is lost then. */
  readonly record: (event: MonitoredEvent) => void;
}

/**
 * Opens a monitor. A file is written from its start and not cut off, as the original does; a FIFO is waited for until
 * somebody reads it. Rejects with the system's reason.
 */
export async function openEventMonitor(target: MonitorTarget): Promise<EventMonitor> {
  const fd = 'fd' in target ? target.fd : openFile(target.path);
  try {
    await neverBlock(fd);
  } catch (error) {
    if ('path' in target) closeSync(fd);
    throw error;
  }
  const opened = performance.now();
  return {
    record: (event) => write(fd, textOf(event, performance.now() - opened)),
    [Symbol.dispose]: () => closeSync(fd),
  };
}

function openFile(path: string): number {
  const flags = constants.O_WRONLY | constants.O_CREAT;
  try {
    return openSync(path, flags | constants.O_NONBLOCK, 0o600);
  } catch (error) {
    if (codeOf(error) !== 'ENXIO') throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
  log.warn(`${path}: nobody reads this FIFO yet, the start waits for a reader`);
  return openSync(path, flags, 0o600);
}

async function neverBlock(fd: number): Promise<void> {
  const { koffi, libc } = await loadNative();
  const fcntl: (fd: number, command: number, ...rest: unknown[]) => number =
    libc.func('int fcntl(int, int, ...)');
  const flags = fcntl(fd, F_GETFL, 'int', 0);
  if (flags >= 0 && fcntl(fd, F_SETFL, 'int', flags | constants.O_NONBLOCK) >= 0) return;
  throw new Error(libc.func('const char *strerror(int)')(koffi.errno()));
}

/** One object, indented by two, and a blank line. */
function textOf({ source, event, properties }: MonitoredEvent, elapsed: number): string {
  const nanoseconds = Math.round(elapsed * 1e6);
  const timestamp = { secs: Math.floor(nanoseconds / 1e9), nanos: nanoseconds % 1e9 };
  return `${JSON.stringify({ timestamp, source, event, properties: properties ?? null }, undefined, 2)}\n\n`;
}

/** In one write, so that events do not mix; a pipe takes it whole or not at all. */
function write(fd: number, text: string): void {
  try {
    writeSync(fd, text);
  } catch (error) {
    const why = codeOf(error) === 'EAGAIN' ? 'its reader does not keep up' : reasonOf(error);
    log.debug(`an event could not be recorded: ${why}`);
  }
}
