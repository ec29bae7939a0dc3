/** Returns a list with one more item, without the oldest above `most`. */
export function withRecent<T>(items: readonly T[], item: T, most: number): T[] {
  return [...items.slice(Math.max(0, items.length + 1 - most)), item];
}
