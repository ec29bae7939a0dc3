/** One line of the table that all benches print. */
export interface Row {
  readonly what: string;
  /** with its unit */
  readonly ours: string;
  /** what it stands beside, and its figure, from the same run */
  readonly reference?: readonly [name: string, figure: string];
  /** ours by the reference's */
  readonly ratio?: number;
  /** the bound, e.g. `>= 0.95` */
  readonly must?: string;
  readonly note?: string;
}

const HEAD = ['what', 'nephos', 'reference', 'ratio', 'must', ''] as const;
const WIDTHS = [44, 16, 28, 5, 8, 0] as const;

let hasHead = false;

/** Prints a row as soon as it is known; the first one brings the head. */
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

/** A time in `milliseconds` as the table has it. */
export function inMs(ms: number): string {
  return `${ms.toFixed(0)} ms`;
}
