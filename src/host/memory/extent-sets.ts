import type { Extent } from './extents.ts';

/*
 * Sets of bytes as runs. Each list of runs is in ascending order, and its runs neither overlap nor touch. So is each result.
 */

const endOf = ({ offset, length }: Extent): number => offset + length;

/** Returns the bytes that are in both sets. */
export function intersect(one: readonly Extent[], other: readonly Extent[]): Extent[] {
  const common: Extent[] = [];
  for (let i = 0, j = 0; ;) {
    const [a, b] = [one[i], other[j]];
    if (a === undefined || b === undefined) return common;
    const offset = Math.max(a.offset, b.offset);
    const end = Math.min(endOf(a), endOf(b));
    if (offset < end) common.push({ offset, length: end - offset });
    if (endOf(a) < endOf(b)) i++;
    else j++;
  }
}

/** Returns the bytes of the first set that are not in the second one. */
export function subtract(from: readonly Extent[], removed: readonly Extent[]): Extent[] {
  const left: Extent[] = [];
  let j = 0;
  for (const run of from) {
    let at = run.offset;
    for (let hole = removed[j]; hole !== undefined && hole.offset < endOf(run); hole = removed[j]) {
      if (hole.offset > at) left.push({ offset: at, length: hole.offset - at });
      at = Math.max(at, endOf(hole));
      // it may reach into the next run
      if (endOf(hole) > endOf(run)) break;
      j++;
    }
    if (at < endOf(run)) left.push({ offset: at, length: endOf(run) - at });
  }
  return left;
}

/** Returns the bytes that are in one of the sets, or in both. */
export function unite(one: readonly Extent[], other: readonly Extent[]): Extent[] {
  const united: Extent[] = [];
  const all = [...one, ...other].toSorted((a, b) => a.offset - b.offset);
  for (const run of all) {
    const last = united.at(-1);
    if (last === undefined || endOf(last) < run.offset) united.push(run);
    else if (endOf(run) > endOf(last))
      united[united.length - 1] = { offset: last.offset, length: endOf(run) - last.offset };
  }
  return united;
}

/** Returns the number of bytes in a set. */
export function sizeOf(runs: readonly Extent[]): number {
  return runs.reduce((sum, { length }) => sum + length, 0);
}

/** Limits of a batch of runs. */
export interface BatchLimits {
  readonly bytes: number;
  readonly runs: number;
}

/** Splits runs into batches, and long runs into several. The order stays. */
export function* batchesOf<E extends Extent>(
  runs: readonly E[],
  limits: BatchLimits,
  part: (run: E, from: number, length: number) => E,
): Generator<E[], undefined> {
  let batch: E[] = [];
  let space = limits.bytes;
  for (const run of runs) {
    for (let from = 0; from < run.length;) {
      const length = Math.min(space, run.length - from);
      batch.push(part(run, from, length));
      from += length;
      space -= length;
      if (space > 0 && batch.length < limits.runs) continue;
      yield batch;
      batch = [];
      space = limits.bytes;
    }
  }
  if (batch.length > 0) yield batch;
  return undefined;
}

/** Returns a part of a run. */
export function partOf({ offset }: Extent, from: number, length: number): Extent {
  return { offset: offset + from, length };
}

/** Returns the pages that contain the bytes of a set. */
export function wholePages(runs: readonly Extent[], page: number): Extent[] {
  const pages = runs.map((run) => {
    const offset = Math.floor(run.offset / page) * page;
    return { offset, length: Math.ceil(endOf(run) / page) * page - offset };
  });
  return unite(pages, []);
}
