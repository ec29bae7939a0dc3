import { closeSync, constants, writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { codeOf, reasonOf } from '../util/errno.ts';
import { createLog } from '../util/log.ts';
import { loadNative } from '../util/native.ts';
import { openFile, OUTPUT_KINDS } from '../util/open-file.ts';

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
export interface EventMonitor extends AsyncDisposable {
  /** Records an event, with the time since the monitor was opened. Nobody who reads slowly holds the VM up: it is lost then. */
  readonly record: (event: MonitoredEvent) => void;
}

/**
 * Opens a monitor. A file is written from its start and not cut off, as Cloud Hypervisor does; a FIFO must have a reader
 * soon. Rejects with the path and the reason.
 */
export async function openEventMonitor(target: MonitorTarget): Promise<EventMonitor> {
  if ('path' in target) {
    const file = await openRecord(target.path);
    const opened = performance.now();
    return {
      record: (event) => write(file.fd, textOf(event, performance.now() - opened)),
      [Symbol.asyncDispose]: () => file.close(),
    };
  }
  const { fd } = target;
  await neverBlock(fd);
  const opened = performance.now();
  return {
    record: (event) => write(fd, textOf(event, performance.now() - opened)),
    [Symbol.asyncDispose]: async () => closeSync(fd),
  };
}

async function openRecord(path: string): Promise<FileHandle> {
  const flags = constants.O_WRONLY | constants.O_CREAT;
  try {
    return await openFile(path, { flags, mode: 0o600, kinds: OUTPUT_KINDS });
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
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
