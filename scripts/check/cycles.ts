// Import cycles: files that import each other in a circle, at runtime or by their types.
import type { Import } from './imports.ts';

export interface Cycle {
  /** `runtime`: each import of the circle loads the next module; `type`: at least one import is of types only */
  readonly kind: Import['kind'];
  /** a shortest circle, in the order of its imports; the last imports the first */
  readonly path: readonly string[];
  /** all that import each other, of which `path` is a part */
  readonly members: readonly string[];
}

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** Returns one cycle for each set of files that reach each other. */
export function findCycles(imports: readonly Import[]): Cycle[] {
  const runtime = cyclesOf(graphOf(imports.filter(({ kind }) => kind === 'runtime'))).map((one) => ({
    ...one,
    kind: 'runtime' as const,
  }));
  const known = new Set(runtime.map(({ members }) => members.join('\n')));
  const all = cyclesOf(graphOf(imports)).map((one) => ({ ...one, kind: 'type' as const }));
  return [...runtime, ...all.filter(({ members }) => !known.has(members.join('\n')))];
}

/** Renders a cycle as the path of its imports; the other files that belong to it follow. */
export function renderCycle({ kind, path, members }: Cycle): string {
  const others = members.filter((member) => !path.includes(member));
  const rest = others.length > 0 ? `\n  with ${others.join(', ')}` : '';
  return `${kind} cycle: ${[...path, path[0]].join(' -> ')}${rest}`;
}

/** Returns the imports between folders: each file is replaced by its folder, imports within one are left out. */
export function folderImports(imports: readonly Import[], folderOf: (path: string) => string): Import[] {
  return imports
    .map((one) => ({ ...one, from: folderOf(one.from), to: folderOf(one.to) }))
    .filter(({ from, to }) => from !== to);
}

function graphOf(imports: readonly Import[]): Graph {
  const graph = new Map<string, Set<string>>();
  for (const { from, to } of imports) {
    graph.set(from, (graph.get(from) ?? new Set()).add(to));
    graph.set(to, graph.get(to) ?? new Set());
  }
  return graph;
}

function cyclesOf(graph: Graph): Omit<Cycle, 'kind'>[] {
  return components(graph)
    .filter(([first = '', second]) => second !== undefined || graph.get(first)?.has(first) === true)
    .map((members) => ({ path: shortestCircle(graph, members), members }));
}

/** Strongly connected components, by Tarjan's algorithm; members are sorted. */
function components(graph: Graph): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (node: string): number => {
    const index = order.size;
    order.set(node, index);
    lowest.set(node, index);
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      const reached = order.has(next)
        ? stack.includes(next)
          ? (order.get(next) ?? index)
          : index
        : visit(next);
      lowest.set(node, Math.min(lowest.get(node) ?? index, reached));
    }
    if (lowest.get(node) === index) found.push(stack.splice(stack.indexOf(node)).toSorted());
    return lowest.get(node) ?? index;
  };
  for (const node of graph.keys()) if (!order.has(node)) visit(node);
  return found;
}

/** A shortest path from one of the members to itself. */
function shortestCircle(graph: Graph, members: readonly string[]): string[] {
  const circles = members.map((member) => circleThrough(graph, member));
  return circles.reduce((best, circle) => (circle.length < best.length ? circle : best));
}

function circleThrough(graph: Graph, start: string): string[] {
  const before = new Map<string, string>();
  const queue = [start];
  for (const node of queue) {
    for (const next of graph.get(node) ?? []) {
      if (next === start) return pathTo(before, start, node);
      if (before.has(next)) continue;
      before.set(next, node);
      queue.push(next);
    }
  }
  return [start];
}

function pathTo(before: ReadonlyMap<string, string>, start: string, end: string): string[] {
  const path = [end];
  for (let node = end; node !== start;) {
    node = before.get(node) ?? start;
    path.unshift(node);
  }
  return path;
}
