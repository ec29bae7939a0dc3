// Imports between the TypeScript files of the repository, as the parser reads them.
import { posix } from 'node:path';
import { parseSync, Visitor, type ParseResult } from 'oxc-parser';
import type { SourceFile } from './sources.ts';

/** One mention of a module, in any form of TypeScript. */
export interface Reference {
  /** path of the file, relative to the root */
  readonly from: string;
  /** the module as the file names it */
  readonly target: string;
  /** path of the file that it names; undefined for packages and Node's modules */
  readonly to: string | undefined;
  /** a `runtime` import loads the other module; a `type` import is gone after compilation */
  readonly kind: 'type' | 'runtime';
  /** from 1 */
  readonly line: number;
}

/** A reference to another file of the repository. */
export interface Import extends Reference {
  readonly to: string;
}

/** The package imports itself by its name in examples/. */
const OWN_NAME: Readonly<Record<string, string>> = { nephos: 'src/sdk/index.ts' };

type Found = readonly [target: string, kind: Reference['kind'], at: number];

/** Returns all modules that a file names, in no particular order. */
export function referencesOf({ path, text }: SourceFile): Reference[] {
  const parsed = parseSync(path, text);
  const [error] = parsed.errors;
  if (error !== undefined) throw new Error(`${path}: ${error.message}`);
  return [...statements(text, parsed), ...expressions(text, parsed)].map(([target, kind, at]) => ({
    from: path,
    target,
    to: resolve(path, target),
    kind,
    line: text.slice(0, at).split('\n').length,
  }));
}

/** Returns the references of a file to other files of the repository. */
export function importsOf(file: SourceFile): Import[] {
  return referencesOf(file).flatMap((one) => (one.to === undefined ? [] : [{ ...one, to: one.to }]));
}

/** `import ... from`, `export ... from`. `import { type A }` loads the module (verbatimModuleSyntax), `import type` does not. */
function statements(text: string, { module }: ParseResult): Found[] {
  const imports = module.staticImports.map(({ start, moduleRequest }): Found => {
    const isType = /^import\s+type\s+(?!from\b|,)/.test(text.slice(start));
    return [moduleRequest.value, isType ? 'type' : 'runtime', start];
  });
  const exports = module.staticExports.flatMap(({ start, entries }): Found[] => {
    const target = entries.find(({ moduleRequest }) => moduleRequest !== null)?.moduleRequest?.value;
    const isType = /^export\s+type\b/.test(text.slice(start));
    return target === undefined ? [] : [[target, isType ? 'type' : 'runtime', start]];
  });
  return [...imports, ...exports];
}

/** `import('...')` as a value and as a type, `require('...')`. The tree is visited only where the text may have one. */
function expressions(text: string, parsed: ParseResult): Found[] {
  if (!/\bimport\s*\(|\brequire\b/.test(text)) return [];
  const found: Found[] = [];
  const add = (source: { type: string; start: number; value?: unknown }, kind: Reference['kind']): void => {
    if (source.type === 'Literal' && typeof source.value === 'string')
      found.push([source.value, kind, source.start]);
  };
  new Visitor({
    ImportExpression: ({ source }) => add(source, 'runtime'),
    TSImportType: ({ source }) => add(source, 'type'),
    TSExternalModuleReference: ({ expression }) => add(expression, 'runtime'),
    CallExpression: ({ callee, arguments: [first] }) => {
      if (callee.type === 'Identifier' && callee.name === 'require' && first !== undefined)
        add(first, 'runtime');
    },
  }).visit(parsed.program);
  return found;
}

function resolve(from: string, target: string): string | undefined {
  if (Object.hasOwn(OWN_NAME, target)) return OWN_NAME[target];
  return target.startsWith('.') ? posix.join(posix.dirname(from), target) : undefined;
}
