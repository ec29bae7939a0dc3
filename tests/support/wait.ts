import { setTimeout as delay } from 'node:timers/promises';

/** How long a condition may take, in milliseconds: machines are slow, conditions are met or they are not. */
const PATIENCE_MS = 90_000;

/** Who can tell what went on meanwhile. */
const witnesses = new Set<() => string>();

/** From now on it is asked when something is waited for in vain. @returns what ends that */
export function addWitness(tell: () => string): () => void {
  witnesses.add(tell);
  return () => witnesses.delete(tell);
}

/** Waits until a condition holds; an attempt that throws counts as not yet. Fails saying what it waited for. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  detail: () => string = () => '',
  patience = PATIENCE_MS,
): Promise<void> {
  const end = performance.now() + patience;
  let last: unknown;
  for (;;) {
    try {
      if (await holds()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      const why = last instanceof Error ? `: ${last.message}` : '';
      const told = [detail, ...witnesses].map((tell) => tell().slice(-4000));
      throw new Error(`waited ${patience / 1000} s in vain until ${what}${why}\n${told.join('\n')}`);
    }
    await delay(10);
  }
}
