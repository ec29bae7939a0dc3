/** A value that stands earlier in the same list. */
interface Duplicate<T> {
  readonly index: number;
  readonly value: T;
  /** index of its first occurrence */
  readonly first: number;
}

/** Returns the values of a list that occur earlier in it, in the order of the list. */
export function duplicates<T>(values: readonly T[]): Duplicate<T>[] {
  const firsts = new Map<T, number>();
  return values.flatMap((value, index) => {
    const first = firsts.get(value);
    if (first !== undefined) return [{ index, value, first }];
    firsts.set(value, index);
    return [];
  });
}
