/** Files of a directory that are copied at the same time. */
const FILES_IN_FLIGHT = 8;

/** Calls `act` for each item, for a bounded number at the same time. The first failure is thrown after the others have settled. */
export async function forEachLimited<T>(items: Iterable<T>, act: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  let hasFailed = false;
  const work = async (): Promise<void> => {
    for (;;) {
      const next = hasFailed ? { done: true as const } : rest.next();
      if (next.done === true) return;
      try {
        await act(next.value);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: FILES_IN_FLIGHT }, work));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
