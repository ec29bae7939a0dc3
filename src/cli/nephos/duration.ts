/** Units of a duration in milliseconds, the largest first, and the number from which on each is used. */
const UNITS: readonly (readonly [name: string, ms: number, from: number])[] = [
  ['year', 31_536_000_000, 2],
  ['month', 2_592_000_000, 2],
  ['week', 604_800_000, 2],
  ['day', 86_400_000, 2],
  ['hour', 3_600_000, 2],
  ['minute', 60_000, 1],
  ['second', 1000, 0],
];

/** Returns a duration in one unit: `90 minutes`, `3 days`. @param ms `milliseconds` */
export function formatDuration(ms: number): string {
  const [name, unit] = UNITS.find(([, unit, from]) => ms >= unit * from) ?? ['second', 1000];
  const count = Math.floor(ms / unit);
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}
