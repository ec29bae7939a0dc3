// Imports between the TypeScript files of the repository, as the parser reads them.
import { posix } from 'node:path';
import { parseSync, type StaticExport, type StaticImport } from 'oxc-parser';
import type { SourceFile } from './sources.ts';

export interface Import {
  /** paths of two files, relative to the root */
  readonly from: string;
  readonly to: string;
  /** a `runtime` import loads the other module; a `type` import is gone after compilation */
  readonly kind: 'type' | 'runtime';
  /** line of the import in `from`, from 1 */
  readonly line: number;
}

/** The package imports itself by its name in examples/. */
const OWN_NAME: Readonly<Record<string, string>> = { nephos: 'src/sdk/index.ts' };

/** Returns the imports of a file of other files of the repository; packages and Node's modules are left out. */
export function importsOf({ path, text }: SourceFile): Import[] {
  const { module, errors } = parseSync(path, text);
  const [error] = errors;
  if (error !== undefined) throw new Error(`${path}: ${error.message}`);
  const found: { target: string; kind: Import['kind']; at: number }[] = [
    ...module.staticImports.map((one) => ({
      target: one.moduleRequest.value,
      kind: kindOfImport(text, one),
      at: one.start,
    })),
    ...module.staticExports.flatMap((one) => exportedFrom(text, one)),
    ...module.dynamicImports.map(({ start, moduleRequest }) => ({
      target: unquote(text.slice(moduleRequest.start, moduleRequest.end)),
      kind: 'runtime' as const,
      at: start,
    })),
    ...typeExpressions(
      text,
      module.dynamicImports.map(({ start }) => start),
    ),
  ];
  return found.flatMap(({ target, kind, at }) => {
    const to = resolve(path, target);
    return to === undefined ? [] : [{ from: path, to, kind, line: text.slice(0, at).split('\n').length }];
  });
}

/** `import { type A }` loads the module (verbatimModuleSyntax); `import type` does not. */
function kindOfImport(text: string, { start }: StaticImport): Import['kind'] {
  return /^import\s+type\s+(?!from\b|,)/.test(text.slice(start)) ? 'type' : 'runtime';
}

function exportedFrom(
  text: string,
  { start, entries }: StaticExport,
): { target: string; kind: Import['kind']; at: number }[] {
  const target = entries.find(({ moduleRequest }) => moduleRequest !== null)?.moduleRequest?.value;
  if (target === undefined) return [];
  const kind = /^export\s+type\b/.test(text.slice(start)) ? 'type' : 'runtime';
  return [{ target, kind, at: start }];
}

/** Types that are written as `import('./a.ts').A`, and `typeof import(...)`. */
function typeExpressions(
  text: string,
  dynamic: readonly number[],
): { target: string; kind: 'type'; at: number }[] {
  return [...text.matchAll(/\bimport\(\s*(['"][^'"\n]+['"])/g)]
    .filter(({ index }) => !dynamic.includes(index))
    .map((match) => ({ target: unquote(match[1] ?? ''), kind: 'type', at: match.index }));
}

function unquote(text: string): string {
  return /^(['"`])(.*)\1$/.exec(text)?.[2] ?? '';
}

function resolve(from: string, target: string): string | undefined {
  if (Object.hasOwn(OWN_NAME, target)) return OWN_NAME[target];
  return target.startsWith('.') ? posix.join(posix.dirname(from), target) : undefined;
}
