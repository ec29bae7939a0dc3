import { setTimeout as delay } from 'node:timers/promises';

/** How long a condition may take, in milliseconds: machines are slow, conditions are met or they are not. */
const PATIENCE_MS = 90_000;

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
      throw new Error(`waited ${patience / 1000} s in vain until ${what}${why}\n${detail().slice(-4000)}`);
    }
    await delay(10);
  }
}
