/** Returns the median of some values. */
export function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/** Returns the median of the ratios of pairs, each measured at the same load. */
export function medianRatio(values: readonly number[], references: readonly number[]): number {
  return medianOf(values.map((value, i) => value / (references[i] ?? NaN)));
}
