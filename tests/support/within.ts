import assert from 'node:assert/strict';

/** Does something that a client gives up on after so many milliseconds. */
export async function within<T>(ms: number, what: string, act: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await act();
  const took = performance.now() - started;
  assert.ok(took < ms, `${what} took ${took.toFixed(0)} ms of ${ms}`);
  return result;
}
