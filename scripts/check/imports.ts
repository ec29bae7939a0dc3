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
  /** the file exports names of the module: `export ... from`, or an import that it exports */
  readonly isExported: boolean;
  /** `target` is an expression whose value only the running program has */
  readonly isComputed: boolean;
}

/** A reference to another file of the repository. */
export interface Import extends Reference {
  readonly to: string;
}

/** The package imports itself by its name in examples/. */
const OWN_NAME: Readonly<Record<string, string>> = { nephos: 'src/index.ts' };

/** Endings of compiled files in import paths, which stand for those of the sources. */
const COMPILED_ENDING = /\.([cm]?)jsx?$/;

interface Found {
  readonly target: string;
  readonly kind: Reference['kind'];
  /** offset in the file */
  readonly at: number;
  readonly form?: 'exported' | 'computed';
}

/** Returns all modules that a file names, in no particular order. */
export function referencesOf({ path, text }: SourceFile): Reference[] {
  const parsed = parseSync(path, text);
  const [error] = parsed.errors;
  if (error !== undefined) throw new Error(`${path}: ${error.message}`);
  return [...statements(text, parsed), ...expressions(text, parsed)].map(({ target, kind, at, form }) => ({
    from: path,
    target,
    to: form === 'computed' ? undefined : resolve(path, target),
    kind,
    line: text.slice(0, at).split('\n').length,
    isExported: form === 'exported',
    isComputed: form === 'computed',
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
    return { target: moduleRequest.value, kind: isType ? 'type' : 'runtime', at: start };
  });
  const exports = module.staticExports.flatMap(({ start, entries }): Found[] => {
    const isType = /^export\s+type\b/.test(text.slice(start));
    const targets = new Set(
      entries.flatMap(({ moduleRequest }) => (moduleRequest === null ? [] : [moduleRequest.value])),
    );
    return [...targets].map((target) => ({
      target,
      kind: isType ? 'type' : 'runtime',
      at: start,
      form: 'exported',
    }));
  });
  return [...imports, ...exports];
}

interface Source {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly value?: unknown;
}

/**
 * `import('...')` as a value and as a type, `require('...')`, `declare module '...'`. The tree is visited only where the text
 * may have one.
 */
function expressions(text: string, parsed: ParseResult): Found[] {
  if (!/\bimport\s*\(|\brequire\b|\bdeclare\s+module\b/.test(text)) return [];
  const found: Found[] = [];
  const add = (source: Source, kind: Reference['kind']): void => {
    found.push({ ...targetOf(text, source), kind, at: source.start });
  };
  new Visitor({
    ImportExpression: ({ source }) => add(source, 'runtime'),
    TSImportType: ({ source }) => add(source, 'type'),
    TSExternalModuleReference: ({ expression }) => add(expression, 'runtime'),
    TSModuleDeclaration: ({ id }) => {
      if (id.type === 'Literal') add(id, 'type');
    },
    CallExpression: ({ callee, arguments: [first] }) => {
      if (callee.type === 'Identifier' && callee.name === 'require' && first !== undefined)
        add(first, 'runtime');
    },
  }).visit(parsed.program);
  return found;
}

/** Returns the module of a string or of a template without expressions; other sources are computed. */
function targetOf(text: string, { type, start, end, value }: Source): Pick<Found, 'target' | 'form'> {
  if (type === 'Literal' && typeof value === 'string') return { target: value };
  const source = text.slice(start, end);
  if (type === 'TemplateLiteral' && !source.includes('${')) return { target: source.slice(1, -1) };
  return { target: source, form: 'computed' };
}

function resolve(from: string, target: string): string | undefined {
  if (Object.hasOwn(OWN_NAME, target)) return OWN_NAME[target];
  if (target.startsWith('/') || target.startsWith('file:')) return target;
  if (!target.startsWith('.')) return undefined;
  const path = posix.join(posix.dirname(from), target.replace(/[?#].*$/, ''));
  return path.replace(COMPILED_ENDING, '.$1ts');
}
