import { open } from 'node:fs/promises';
import { listVms, type VmEntry } from '../../run/vm-directory/vm-directories.ts';

/** Largest part of an event file that one look reads, in bytes. */
const READ_BYTES_MAX = 2 ** 20;

/** An event of a VM. */
export interface ShownEvent {
  /** ISO 8601: time at which it was seen */
  readonly time: string;
  /** name of the VM */
  readonly name: string;
  /** `nephos`: its directory; else the source of the VMM’s event monitor: `vmm`, `vm`, `guest`, `virtio-device`, ... */
  readonly source: string;
  readonly event: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** A VM as the last look saw it. */
interface Seen {
  readonly entry: VmEntry;
  /** bytes of the event file that were read */
  readonly offset: number;
}

/**
 * Follows the events of VMs: those of their directories (created, started, exited, crashed, removed) and those of the event monitors of
 * their VMMs. Events before the call are left out.
 * @param names VMs to follow; empty: all
 * @returns a function that returns the events since its last call
 */
export async function followEvents(names: readonly string[]): Promise<() => Promise<ShownEvent[]>> {
  const list = async (): Promise<VmEntry[]> =>
    (await listVms()).filter(({ record }) => names.length === 0 || names.includes(record.name));
  let seen = new Map<string, Seen>();
  for (const entry of await list())
    seen.set(entry.record.id, { entry, offset: (await readFrom(entry, Infinity)).offset });
  return async () => {
    const events: ShownEvent[] = [];
    const now = new Map<string, Seen>();
    for (const entry of await list()) {
      const before = seen.get(entry.record.id);
      const { text, offset } = await readFrom(entry, before?.offset ?? 0);
      const [start, end] = splitChanges(changesOf(before?.entry, entry));
      events.push(...start, ...monitorEvents(entry.record.name, text), ...end);
      now.set(entry.record.id, { entry, offset });
    }
    for (const [id, { entry }] of seen) if (!now.has(id)) events.push(nephosEvent(entry, 'removed'));
    seen = now;
    return events;
  };
}

/** Events of a VM’s start precede those of its VMM, those of its exit follow. */
function splitChanges(changes: readonly ShownEvent[]): [start: ShownEvent[], end: ShownEvent[]] {
  const isEnd = ({ event }: ShownEvent): boolean => event === 'exited' || event === 'crashed';
  return [changes.filter((one) => !isEnd(one)), changes.filter(isEnd)];
}

/** Returns the events between two looks at a directory. */
export function changesOf(before: VmEntry | undefined, { record, isOwned }: VmEntry): ShownEvent[] {
  const isNew = before === undefined;
  const hasStarted = record.started !== undefined && before?.record.started === undefined;
  const hasEnded = !isOwned && (isNew || before.isOwned);
  return [
    ...(isNew ? [nephosEvent({ record }, 'created', { image: record.request.image ?? '' })] : []),
    ...(hasStarted ? [nephosEvent({ record }, 'started')] : []),
    ...(hasEnded ? [endEvent({ record })] : []),
  ];
}

function endEvent({ record }: Pick<VmEntry, 'record'>): ShownEvent {
  const { exit } = record;
  if (exit === undefined) return nephosEvent({ record }, 'crashed');
  const reason: Record<string, string> = exit.reason === undefined ? {} : { reason: exit.reason };
  return nephosEvent({ record }, 'exited', { code: String(exit.code), ...reason });
}

function nephosEvent(
  { record }: Pick<VmEntry, 'record'>,
  event: string,
  properties: Readonly<Record<string, string>> = {},
): ShownEvent {
  return { time: new Date().toISOString(), name: record.name, source: 'nephos', event, properties };
}

/** Parses the text of an event monitor: JSON objects with blank lines between them. */
export function monitorEvents(name: string, text: string): ShownEvent[] {
  return text.split('\n\n').flatMap((one): ShownEvent[] => {
    try {
      // the VMM writes the file
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const { source, event, properties } = JSON.parse(one) as Partial<ShownEvent>;
      if (source === undefined || event === undefined) return [];
      return [{ time: new Date().toISOString(), name, source, event, properties: properties ?? {} }];
    } catch {
      return [];
    }
  });
}

/** Reads whole events behind an offset. @returns the text, and the offset behind it */
async function readFrom({ paths }: VmEntry, offset: number): Promise<{ text: string; offset: number }> {
  try {
    await using file = await open(paths.events, 'r');
    const { size } = await file.stat();
    const from = Math.min(offset, size);
    const bytes = Buffer.alloc(Math.min(size - from, READ_BYTES_MAX));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, from);
    const end = bytes.lastIndexOf('\n\n', bytesRead - 1);
    const whole = end < 0 ? 0 : end + 2;
    return { text: bytes.toString('utf8', 0, whole), offset: from + whole };
  } catch {
    return { text: '', offset: Number.isFinite(offset) ? offset : 0 };
  }
}
