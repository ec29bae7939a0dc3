import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { RELEASE_PATIENCE_MS, waitWhile } from './release.ts';

/** How long a guest that has never released a device may take, in milliseconds: it may have no hot-plug. */
const UNKNOWN_PATIENCE_MS = 2000;

/**
 * Waits until the guest has released the devices that it was asked for, before its next hot-plug interrupt.
 *
 * At each such interrupt, for a device that is added or removed, the guest's ACPI code asks for every slot whose removal is
 * pending, and so more than once for the same slot. The guest carries out each request, the last perhaps when the slot has
 * another device already, which it would eject. A paused guest takes no interrupt and is not waited for; one that keeps a
 * device is waited for once, and so is one without hot-plug.
 */
export async function untilSettled({ live, state }: Vm, waits: AbortSignal): Promise<void> {
  if (live === undefined || state === 'Paused') return;
  const { machine } = live;
  await waitWhile(machine, () => isBusy(machine), { waits, patience: RELEASE_PATIENCE_MS });
}

function isBusy({ detaching, hasReleased }: Machine): boolean {
  const now = performance.now();
  const waited = [...detaching.values()].map((asked) => now - asked);
  if (hasReleased) return waited.some((ms) => ms < RELEASE_PATIENCE_MS);
  return waited.length > 0 && waited.every((ms) => ms < UNKNOWN_PATIENCE_MS);
}
