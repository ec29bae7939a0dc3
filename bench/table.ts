/** A row of the table of all benches. */
export interface Row {
  readonly what: string;
  /** value of Nephos, with its unit */
  readonly ours: string;
  /** name and value of the reference, from the same run */
  readonly reference?: readonly [name: string, figure: string];
  /** value of Nephos divided by that of the reference */
  readonly ratio?: number;
  /** bound, e.g. `>= 0.95` */
  readonly must?: string;
  readonly note?: string;
}

const HEAD = ['what', 'nephos', 'reference', 'ratio', 'must', ''] as const;
const WIDTHS = [44, 16, 28, 5, 8, 0] as const;

let hasHead = false;

/** Prints a row. The first one is preceded by the head. */
export function printRow({ what, ours, reference, ratio, must = '', note = '' }: Row): void {
  if (!hasHead) print(HEAD);
  hasHead = true;
  const beside = reference === undefined ? '' : `${reference[0]} ${reference[1]}`;
  print([what, ours, beside, ratio?.toFixed(2) ?? '', must, note]);
}

function print(cells: readonly string[]): void {
  console.log(
    cells
      .map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** Formats a time in `milliseconds` for the table. */
export function inMs(ms: number): string {
  return `${ms.toFixed(0)} ms`;
}

/** Returns the median of some values; 0 without values. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
