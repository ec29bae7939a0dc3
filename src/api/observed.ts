import { ApiError } from './errors.ts';
import type { Endpoints } from './route.ts';

/** Called for each answered request: endpoint, duration in `seconds`, and `ok` or the kind of error. */
export type OnRequest = (endpoint: string, seconds: number, outcome: string) => void;

/** Wraps endpoints so that `onRequest` is called for each answered request. */
export function observed(endpoints: Endpoints, onRequest: OnRequest): Endpoints {
  return new Map(
    [...endpoints].map(([name, { route, handle, start }]) => [
      name,
      {
        ...(start !== undefined && {
          start: (...request: Parameters<typeof start>) => {
            const accepted = reported(name, () => start(...request), onRequest);
            onRequest(name, 0, 'ok');
            return accepted;
          },
        }),
        route: {
          ...route,
          check: () => reported(name, () => route.check?.(), onRequest),
          decode: (json: unknown) => reported(name, () => route.decode(json), onRequest),
        },
        handle: async (...request: Parameters<typeof handle>) => {
          const start = performance.now();
          const seconds = (): number => (performance.now() - start) / 1000;
          try {
            const reply = await handle(...request);
            onRequest(name, seconds(), 'ok');
            return reply;
          } catch (error) {
            onRequest(name, seconds(), outcomeOf(error));
            throw error;
          }
        },
      },
    ]),
  );
}

/** Reports a request that is rejected before its handler runs, because of the state or the body. */
function reported<T>(name: string, run: () => T, onRequest: OnRequest): T {
  try {
    return run();
  } catch (error) {
    onRequest(name, 0, outcomeOf(error));
    throw error;
  }
}

function outcomeOf(error: unknown): string {
  return error instanceof ApiError ? error.code : 'failed';
}
