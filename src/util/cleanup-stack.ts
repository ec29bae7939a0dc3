import { reasonOf } from './errno.ts';
import { createLog } from './log.ts';

const log = createLog('cleanup');

/** Resources with one owner, which releases them the newest first: `AsyncDisposableStack`, which Node 20 lacks. */
export interface CleanupStack extends AsyncDisposable {
  /** Adds a resource and returns it. */
  readonly use: <T extends Disposable | AsyncDisposable>(resource: T) => T;
  /** Gives all resources to another owner: nothing is released any more. */
  readonly disown: () => void;
  /** Releases all resources. Never rejects: a failure is logged, so that it hides no error and the others are released. */
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

/** Returns a stack without resources. */
export function createCleanupStack(): CleanupStack {
  let resources: (Disposable | AsyncDisposable)[] = [];
  return {
    use: (resource) => {
      resources.push(resource);
      return resource;
    },
    disown: () => {
      resources = [];
    },
    [Symbol.asyncDispose]: async () => {
      const all = resources.toReversed();
      resources = [];
      for (const resource of all) await release(resource);
    },
  };
}

async function release(resource: Disposable | AsyncDisposable): Promise<void> {
  try {
    if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
    else resource[Symbol.dispose]();
  } catch (error) {
    log.error(`a resource could not be released: ${reasonOf(error)}`);
  }
}
