/** Seed of the moments of kills: `NEPHOS_KILL_SEED` repeats those of another run. */
export const KILL_SEED = Number(process.env['NEPHOS_KILL_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** Returns a function whose numbers from 0 to 1 are the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns `count` moments in milliseconds, one in each part of a duration and of 10 % after it. */
export function momentsIn(duration: number, count: number, random: () => number): number[] {
  const part = (duration * 1.1) / count;
  return Array.from({ length: count }, (_, i) => Math.round((i + random()) * part));
}
