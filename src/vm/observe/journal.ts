import { randomBytes } from 'node:crypto';
import type { VmEvent } from '../../api/events.ts';

/** Number of events that the journal keeps. */
export const EVENTS_KEPT = 1024;

/** An event in the journal. */
export interface JournalEntry {
  /** 1 for the first event of the VMM, and 1 more for each further one */
  readonly sequence: number;
  /** time since the start of the VMM, in milliseconds */
  readonly elapsedMs: number;
  readonly event: VmEvent;
}

/** Numbered events of one VMM: the last {@link EVENTS_KEPT}, for any number of readers. */
export interface Journal {
  /** random name of this run of the VMM: a sequence number of an earlier run is none of this one */
  readonly run: string;
  /** sequence number of the newest event; 0 before the first one */
  readonly last: () => number;
  /** Returns the time since the start of the VMM, in milliseconds. */
  readonly elapsedMs: () => number;
  /** Adds an event, and calls the readers. */
  readonly append: (event: VmEvent) => void;
  /** Returns the kept events behind a sequence number, in order. */
  readonly after: (sequence: number) => readonly JournalEntry[];
  /** Returns true while at least one reader follows. */
  readonly hasReaders: () => boolean;
  /** Calls `take`, which must not throw, with each event from now on. @returns a function that ends it */
  readonly follow: (take: (entry: JournalEntry) => void) => () => void;
}

/** Returns an empty journal. */
export function createJournal(kept = EVENTS_KEPT): Journal {
  const started = performance.now();
  // the event with sequence number n is at n modulo the size
  const ring: JournalEntry[] = [];
  const readers = new Set<(entry: JournalEntry) => void>();
  let last = 0;
  const elapsedMs = (): number => performance.now() - started;
  return {
    run: randomBytes(4).toString('hex'),
    last: () => last,
    elapsedMs,
    append: (event) => {
      last += 1;
      const entry = { sequence: last, elapsedMs: elapsedMs(), event };
      ring[last % kept] = entry;
      for (const take of readers) take(entry);
    },
    after: (sequence) => {
      const first = Math.max(sequence + 1, last - kept + 1, 1);
      const count = Math.max(0, last - first + 1);
      return Array.from({ length: count }, (_, i) => ring[(first + i) % kept]).filter(
        (entry) => entry !== undefined,
      );
    },
    hasReaders: () => readers.size > 0,
    follow: (take) => {
      readers.add(take);
      return () => void readers.delete(take);
    },
  };
}
