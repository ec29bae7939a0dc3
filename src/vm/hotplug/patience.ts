import type { Machine } from '../launch/machine.ts';

/**
 * Counts the time for all pending releases from now on: the guest begins to carry them out, as it is resumed or has shown that
 * it has hot-plug.
 */
export function restartPatience({ leaving }: Pick<Machine, 'leaving'>): void {
  for (const id of leaving.keys()) leaving.set(id, performance.now());
}
