/** Returns whether a whole number is a power of two; it may have more than 32 bits. */
export function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
