import type { Machine } from '../machine.ts';

/** Restarts the time limits of all pending releases: the guest is resumed, or has shown that its kernel has hot-plug. */
export function restartReleaseTimes({ detaching }: Pick<Machine, 'detaching'>): void {
  for (const id of detaching.keys()) detaching.set(id, performance.now());
}
