import { constants, fstat } from 'node:fs';
import { readdir, readFile, readlink, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { closeInBackground } from '../../util/background.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLineOutput } from '../../native/line-output.ts';
import { openFile, OUTPUT_KINDS } from '../../util/open-file.ts';

/** Destination of events: a file or FIFO, or an inherited descriptor. */
export type MonitorTarget = { readonly path: string } | { readonly fd: number };

/** A recorded event. */
export interface MonitoredEvent {
  readonly source: string;
  readonly event: string;
  readonly properties?: Readonly<Record<string, string>>;
}

/** A stream of events for another program. */
export interface EventMonitor extends Disposable {
  /** Records an event, with the time since the monitor was opened. A slow reader loses events; it never blocks the VM. */
  readonly record: (event: MonitoredEvent) => void;
}

/** Opens all monitors, or none, as one. Rejects with the path and the reason. */
export async function openEventMonitors(targets: readonly MonitorTarget[]): Promise<EventMonitor> {
  const monitors: EventMonitor[] = [];
  const dispose = (): void => {
    for (const monitor of monitors) monitor[Symbol.dispose]();
  };
  try {
    for (const target of targets) monitors.push(await openEventMonitor(target));
  } catch (error) {
    dispose();
    throw error;
  }
  const record: EventMonitor['record'] = (event) => {
    for (const monitor of monitors) monitor.record(event);
  };
  return { record, [Symbol.dispose]: dispose };
}

/**
 * Opens a monitor. A file is written from its start and not truncated, as Cloud Hypervisor does; a FIFO needs a reader within
 * three seconds. Rejects with the path and the reason.
 */
export async function openEventMonitor(target: MonitorTarget): Promise<EventMonitor> {
  const { fd, file } = 'fd' in target ? await inheritedRecord(target.fd) : await openRecord(target.path);
  const opened = performance.now();
  const text = (event: MonitoredEvent): string => textOf(event, performance.now() - opened);
  const note = (dropped: number): string =>
    text({ source: 'vmm', event: 'events-dropped', properties: { count: String(dropped) } });
  const output = createLineOutput(fd, note, { release: () => closeInBackground(file) });
  return { record: (event) => output.write(text(event)), [Symbol.dispose]: output.close };
}

/**
 * Takes an inherited descriptor. Node may use the number of a closed one for itself: the event loop's own descriptors are of no
 * kind that accepts output.
 */
async function inheritedRecord(fd: number): Promise<{ fd: number; file: undefined }> {
  try {
    const status = await promisify(fstat)(fd);
    const isOutput = status.isFile() || status.isFIFO() || status.isSocket() || status.isCharacterDevice();
    if (!isOutput) throw new Error('is no file, pipe, socket or terminal that was passed to this process');
    if (process.platform === 'linux') await checkUse(fd);
  } catch (error) {
    throw new Error(`file descriptor ${fd}: ${reasonOf(error)}`, { cause: error });
  }
  return { fd, file: undefined };
}

async function checkUse(fd: number): Promise<void> {
  const flags = await openFlags(fd);
  if ((flags & (constants.O_WRONLY | constants.O_RDWR)) === 0) throw new Error('is not open for writing');
  const link = await linkOf(fd);
  // a non-blocking pipe with both ends in this process is one of Node itself
  if (!link.startsWith('pipe:') || (flags & constants.O_NONBLOCK) === 0) return;
  const links = await Promise.all((await readdir('/proc/self/fd')).map(linkOf));
  if (links.filter((other) => other === link).length > 1) throw new Error('is a pipe of this process itself');
}

/** Reads the flags of an open file, which the kernel formats in octal. */
async function openFlags(fd: number): Promise<number> {
  const [, flags = '0'] = /^flags:\s*([0-7]+)/m.exec(await readFile(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? [];
  return Number.parseInt(flags, 8);
}

/** Returns the target of a descriptor; empty where it was closed meanwhile. */
function linkOf(fd: number | string): Promise<string> {
  return readlink(`/proc/self/fd/${fd}`).catch(() => '');
}

async function openRecord(path: string): Promise<{ fd: number; file: FileHandle }> {
  const flags = constants.O_WRONLY | constants.O_CREAT;
  try {
    const file = await openFile(path, { flags, mode: 0o600, kinds: OUTPUT_KINDS });
    return { fd: file.fd, file };
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** An event with the time since the monitor was opened, as it is written. */
export interface EventRecord {
  readonly timestamp: { readonly secs: number; readonly nanos: number };
  readonly source: string;
  readonly event: string;
  readonly properties: Readonly<Record<string, string>> | null;
}

/** Returns the record of an event; `elapsedMs` are milliseconds. */
export function eventRecord({ source, event, properties }: MonitoredEvent, elapsedMs: number): EventRecord {
  const nanoseconds = Math.round(elapsedMs * 1e6);
  const timestamp = { secs: Math.floor(nanoseconds / 1e9), nanos: nanoseconds % 1e9 };
  return { timestamp, source, event, properties: properties ?? null };
}

/** Formats an event: one JSON object, indented by two, and a blank line. */
function textOf(event: MonitoredEvent, elapsedMs: number): string {
  return `${JSON.stringify(eventRecord(event, elapsedMs), undefined, 2)}\n\n`;
}
