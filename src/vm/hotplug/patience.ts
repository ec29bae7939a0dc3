import type { Machine } from '../machine.ts';

/**
 * Counts the time for all pending releases from now on: the guest begins to carry them out, as it is resumed or has shown that
 * it has hot-plug.
 */
export function restartPatience({ detaching }: Pick<Machine, 'detaching'>): void {
  for (const id of detaching.keys()) detaching.set(id, performance.now());
}
