import type { Endpoint, Endpoints } from '../api/route.ts';

/** Endpoints of one path: one for each method. */
export interface FoundPath {
  readonly endpoints: readonly Endpoint[];
  /** parameter of the path by its name; undefined if the path has none */
  readonly parameters: Readonly<Record<string, string>> | undefined;
}

/** Paths of the API. */
export interface Paths {
  /** Finds the endpoints of a path below `/api/v1/`; undefined if there is none. */
  readonly find: (path: string) => FoundPath | undefined;
}

/** A path whose last segment is a parameter, e.g. `vmm.operations/{id}`. */
const PARAMETER = /^(.+\/)\{(\w+)\}$/;

/** Indexes endpoints by their paths. */
export function indexPaths(endpoints: Endpoints): Paths {
  const exact = new Map<string, FoundPath>();
  const parameterized = new Map<string, { readonly name: string; readonly endpoints: readonly Endpoint[] }>();
  for (const [name, endpoint] of endpoints) {
    const path = endpoint.route.path ?? name;
    const [, prefix, parameter] = PARAMETER.exec(path) ?? [];
    if (prefix === undefined || parameter === undefined) {
      const others = exact.get(path)?.endpoints ?? [];
      exact.set(path, { endpoints: [...others, endpoint], parameters: undefined });
    } else {
      const others = parameterized.get(prefix)?.endpoints ?? [];
      parameterized.set(prefix, { name: parameter, endpoints: [...others, endpoint] });
    }
  }
  return {
    find: (path) => {
      const found = exact.get(path);
      if (found !== undefined) return found;
      const end = path.lastIndexOf('/') + 1;
      const value = path.slice(end);
      const family = parameterized.get(path.slice(0, end));
      if (family === undefined || value === '') return undefined;
      return { endpoints: family.endpoints, parameters: { [family.name]: value } };
    },
  };
}
