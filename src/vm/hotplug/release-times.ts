import type { Machine } from '../machine.ts';

/** Restarts the time limits of all pending releases, after a resume or after the guest's first release of a device. */
export function restartReleaseTimes({ detaching }: Pick<Machine, 'detaching'>): void {
  for (const id of detaching.keys()) detaching.set(id, performance.now());
}
