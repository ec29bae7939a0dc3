/** Runs operations one at a time, in the order in which they came. */
export type Queue = <T>(operation: () => Promise<T>) => Promise<T>;

/** A failed operation does not hold up the next. */
export function createQueue(): Queue {
  let last: Promise<unknown> = Promise.resolve();
  return (operation) => {
    const result = last.then(operation);
    last = result.catch(() => undefined);
    return result;
  };
}

/** A queue that tidies up after each operation, however it ended. */
export function withCleanup(queue: Queue, tidy: () => void): Queue {
  return (operation) =>
    queue(async () => {
      try {
        return await operation();
      } finally {
        tidy();
      }
    });
}
