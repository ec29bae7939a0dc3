export function isPowerOfTwo(value: number): boolean {
  // 32-bit operators would not do: a page may be larger
  return value > 0 && Number.isInteger(Math.log2(value));
}

interface Duplicate<T> {
  readonly index: number;
  readonly value: T;
  /** where the value stood first */
  readonly first: number;
}

/** The values of a list that are there already, in their order. */
export function duplicates<T>(values: readonly T[]): Duplicate<T>[] {
  return values
    .map((value, index) => ({ index, value, first: values.indexOf(value) }))
    .filter(({ index, first }) => first !== index);
}
