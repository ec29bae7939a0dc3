/** Random moments that are the same for the same seed: `NEPHOS_KILL_SEED` has those of another run again. */
export const KILL_SEED = Number(process.env['NEPHOS_KILL_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** Numbers from 0 to 1 that are the same for the same seed. */
export function* numbers(seed: number): Generator<number, never> {
  for (let state = seed >>> 0; ;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** So many moments in milliseconds, one in each part of a time and a little beyond its end. */
export function momentsIn(duration: number, count: number, random: Generator<number, never>): number[] {
  const part = (duration * 1.1) / count;
  return Array.from({ length: count }, (_, i) => Math.round((i + random.next().value) * part));
}
