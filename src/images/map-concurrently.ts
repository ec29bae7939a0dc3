/** Limits of {@link mapConcurrently}. */
export interface ConcurrencyOptions {
  /** Most calls at the same time */
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls `act` for each item, several at the same time. @returns the results in the order of the items. After a failure the other calls
 * are aborted; it rejects with the first failure when all have ended.
 */
export async function mapConcurrently<T, R>(
  items: readonly T[],
  { limit, signal }: ConcurrencyOptions,
  act: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const failure = new AbortController();
  const both = signal === undefined ? failure.signal : AbortSignal.any([signal, failure.signal]);
  const results: R[] = [];
  const queue = [...items.entries()];
  let firstError: { readonly error: unknown } | undefined;
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [i, item] = next;
      try {
        both.throwIfAborted();
        results[i] = await act(item, both);
      } catch (error) {
        firstError ??= { error };
        failure.abort(error);
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, work));
  if (firstError !== undefined) throw firstError.error;
  return results;
}
