/** Waits for conditions: no test waits for a time. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

/** Time limit of a condition, in milliseconds: long enough for a busy machine. */
const TIMEOUT_MS = 90_000;

/** Sources of diagnostic text for a condition that is not met in time. */
const diagnostics = new Set<() => string>();

/** Adds a source of text to the errors of {@link until}, e.g. the log of a VMM. @returns a function that removes it */
export function addDiagnostics(read: () => string): () => void {
  diagnostics.add(read);
  return () => diagnostics.delete(read);
}

/**
 * Waits until a condition holds; an attempt that throws counts as not yet.
 * Rejects after `timeoutMs` with the condition's name, the last error, `detail` and the diagnostics.
 */
export async function until(
  condition: string,
  holds: () => boolean | Promise<boolean>,
  detail: () => string = () => '',
  timeoutMs = TIMEOUT_MS,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      if (await holds()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      const cause = last instanceof Error ? `: ${last.message}` : '';
      const texts = [detail, ...diagnostics].map((read) => read().slice(-4000));
      throw new Error(`not within ${timeoutMs / 1000} s: ${condition}${cause}\n${texts.join('\n')}`);
    }
    await delay(10);
  }
}

/** Runs `act` and fails where it takes longer than a client's timeout of `ms` milliseconds. */
export async function within<T>(ms: number, name: string, act: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await act();
  const took = performance.now() - started;
  assert.ok(took < ms, `${name} took ${took.toFixed(0)} ms of ${ms}`);
  return result;
}
