import { ApiError } from './errors.ts';
import type { Endpoints } from './route.ts';

/** How a request went: the endpoint, how long it took in `seconds`, and `ok` or the kind of error. */
export type OnRequest = (endpoint: string, seconds: number, outcome: string) => void;

/** The same endpoints; who watches is told of each request that they have answered. */
export function observed(endpoints: Endpoints, onRequest: OnRequest): Endpoints {
  return new Map(
    [...endpoints].map(([name, { route, handle }]) => [
      name,
      {
        route: {
          ...route,
          check: () => told(name, () => route.check?.(), onRequest),
          decode: (json: unknown) => told(name, () => route.decode(json), onRequest),
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

/** A request whose time or body is refused never comes to the handler. */
function told<T>(name: string, look: () => T, onRequest: OnRequest): T {
  try {
    return look();
  } catch (error) {
    onRequest(name, 0, outcomeOf(error));
    throw error;
  }
}

function outcomeOf(error: unknown): string {
  return error instanceof ApiError ? error.code : 'failed';
}
