import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createJournal, type JournalEntry } from './journal.ts';

const EVENT = { source: 'vm', event: 'watchdog' } as const;

const numbers = (entries: readonly JournalEntry[]): number[] => entries.map(({ sequence }) => sequence);

test('events are numbered from 1, and those behind a number are returned in order', () => {
  const journal = createJournal(4);
  assert.deepEqual([journal.last(), journal.after(0)], [0, []]);
  for (let i = 0; i < 3; i++) journal.append(EVENT);
  assert.equal(journal.last(), 3);
  assert.deepEqual(numbers(journal.after(0)), [1, 2, 3]);
  assert.deepEqual(numbers(journal.after(2)), [3]);
  for (const sequence of [3, 4, 1e15]) assert.deepEqual(journal.after(sequence), []);
  assert.equal(journal.after(0)[0]?.event, EVENT);
});

test('the newest events are kept', () => {
  const journal = createJournal(4);
  for (let i = 0; i < 11; i++) journal.append(EVENT);
  assert.deepEqual(numbers(journal.after(0)), [8, 9, 10, 11]);
  assert.deepEqual(numbers(journal.after(9)), [10, 11]);
});

test('a journal keeps 1024 events', () => {
  const journal = createJournal();
  for (let i = 0; i < 3000; i++) journal.append(EVENT);
  assert.equal(journal.after(0).length, 1024);
});

test('times increase', () => {
  const journal = createJournal();
  journal.append(EVENT);
  journal.append(EVENT);
  const [first, second] = journal.after(0);
  assert.ok(first !== undefined && second !== undefined);
  assert.ok(first.elapsedMs >= 0 && first.elapsedMs <= second.elapsedMs);
  assert.ok(second.elapsedMs <= journal.elapsedMs());
});

test('a reader gets events until it ends, also when it ends within one', () => {
  const journal = createJournal();
  const seen: string[] = [];
  const endFirst = journal.follow(({ sequence }) => {
    seen.push(`a${sequence}`);
    if (sequence === 2) endFirst();
  });
  const endSecond = journal.follow(({ sequence }) => seen.push(`b${sequence}`));
  for (let i = 0; i < 3; i++) journal.append(EVENT);
  assert.equal(journal.hasReaders(), true);
  endSecond();
  assert.equal(journal.hasReaders(), false);
  journal.append(EVENT);
  assert.deepEqual(seen, ['a1', 'b1', 'a2', 'b2', 'b3']);
});

test('each run of a VMM has a name of its own', () => {
  const runs = new Set(Array.from({ length: 100 }, () => createJournal().run));
  assert.equal(runs.size, 100);
  for (const run of runs) assert.match(run, /^[\da-f]{8}$/);
});
