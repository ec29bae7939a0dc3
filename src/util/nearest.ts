/**
 * Returns the candidate that a mistyped word most likely stands for: equal but for case and blanks, or at an edit distance of at
 * most a third of its letters. Undefined where there is none.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const typed = word.trim().toLowerCase();
  let best: { readonly candidate: string; readonly distance: number } | undefined;
  for (const candidate of candidates) {
    const distance = distanceOf(typed, candidate.toLowerCase());
    if (distance <= tolerance(typed, candidate) && distance < (best?.distance ?? Infinity)) {
      best = { candidate, distance };
    }
  }
  return best?.candidate;
}

/** Returns `did you mean <text>?`; undefined where there is no text. */
export function didYouMean(text: string | undefined): string | undefined {
  return text === undefined ? undefined : `did you mean ${text}?`;
}

/** Returns `expected <form>; did you mean <text>?`; the form alone where there is no text. */
export function expected(form: string, meant: string | undefined): string {
  return [`expected ${form}`, didYouMean(meant) ?? []].flat().join('; ');
}

/** Longer words are not compared: input is hostile, and the comparison takes time. */
const LONGEST = 40;

function tolerance(typed: string, candidate: string): number {
  const longer = Math.max(typed.length, candidate.length);
  if (longer > LONGEST) return -1;
  // `cpu` for `cpus`: short words may miss one letter, if two are left
  return Math.min(typed.length, candidate.length) < 2 ? 0 : Math.max(1, Math.floor(longer / 3));
}

/** Returns the number of insertions, deletions, replacements and swaps of neighbours between two words. */
function distanceOf(from: string, to: string): number {
  if (Math.max(from.length, to.length) > LONGEST) return Infinity;
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = at(last, j - 1) + (from[i - 1] === to[j - 1] ? 0 : 1);
      const swapped =
        from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1] ? at(beforeLast, j - 2) + 1 : Infinity;
      row.push(Math.min(at(last, j) + 1, at(row, j - 1) + 1, replaced, swapped));
    }
    [beforeLast, last] = [last, row];
  }
  return at(last, to.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Infinity;
}
