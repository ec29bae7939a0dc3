import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { RELEASE_MS, waitWhile } from './wait-release.ts';

/** Time limit for a guest that has never released a device, in milliseconds: its kernel may have no hot-plug. */
const FIRST_RELEASE_MS = 2000;

/**
 * Waits until no release is pending, before the guest's next hot-plug interrupt.
 *
 * At each such interrupt the guest's ACPI code handles every slot whose removal is pending, so it may handle one slot more than once.
 * The last time, the slot may have another device already, which the guest would eject. A paused guest takes no interrupt, so there is
 * no wait for it. There is only one wait for a guest that keeps a device or has no hot-plug.
 */
export async function untilNoPendingRelease({ booted, state }: Vm, waits: AbortSignal): Promise<void> {
  if (booted === undefined || state === 'Paused') return;
  const { machine } = booted;
  await waitWhile(machine, () => isBusy(machine), { waits, limitMs: RELEASE_MS });
}

function isBusy({ detaching, hasReleased }: Machine): boolean {
  const now = performance.now();
  const waited = [...detaching.values()].map((asked) => now - asked);
  if (hasReleased) return waited.some((ms) => ms < RELEASE_MS);
  return waited.length > 0 && waited.every((ms) => ms < FIRST_RELEASE_MS);
}
