// The rules of layers.ts for the linter, so that an editor and `npx oxlint` refuse a wrong import as it is written.
// The linter compares the text of an import: `../` and the name of a folder, at any depth. `npm run check:layers` resolves paths.
import { FOLDER_RULES, LAYERS, PACKAGE_RULES, type Layer } from './layers.ts';

/** `.oxlintrc.json` extends this file; `npm run architecture` writes it. */
export const LINT_FILE = '.oxlintrc.layers.json';

/** Text of an import that the linter refuses, with the reason. */
type Pattern = { readonly message: string } & (
  | { /** in the syntax of Rust's regular expressions, which have no look-around */ readonly regex: string }
  | { /** in the syntax of .gitignore */ readonly group: readonly string[] }
);

/** Modules of Node with I/O by their old names, without `node:`. */
const OLD_NAMES = 'child_process|dgram|fs|http|https|http2|net|os|process|tls|worker_threads';

/** Returns the text of the file. */
export function lintRules(): string {
  return `${JSON.stringify(lintConfig(), undefined, 2)}\n`;
}

/** Returns the linter's configuration: one override for each layer, then one for each folder with rules of its own. */
function lintConfig(): object {
  const layers = LAYERS.flatMap((layer) => override(layer.name, layerPatterns(layer)));
  const folders = FOLDER_RULES.flatMap(({ folder, without, reason }) => {
    const [layer] = LAYERS.filter(({ name }) => `${folder}/`.startsWith(`${name}/`));
    // an override replaces the patterns of those before it
    const patterns = layer === undefined ? [] : layerPatterns(layer);
    const isBeside = without.every((one) => one.startsWith(`${layer?.name}/`));
    const names = isBeside ? without.map((one) => one.slice(one.indexOf('/') + 1)) : without;
    const regex = foldersBeside(names, isBeside ? layer?.name : undefined);
    return override(folder, [...patterns, { regex, message: reason }]);
  });
  const tests = {
    files: ['src/**/*.test.ts', 'src/**/test-*.ts'],
    rules: { 'no-restricted-imports': 'off' },
  };
  return {
    $schema: './node_modules/oxlint/configuration_schema.json',
    overrides: [...layers, ...folders, tests],
  };
}

function override(folder: string, patterns: readonly Pattern[]): object[] {
  if (patterns.length === 0) return [];
  const rules = { 'no-restricted-imports': ['error', { patterns }] };
  return [{ files: [`src/${folder}/**`], rules }];
}

function layerPatterns({ name, imports, node, reason }: Layer): Pattern[] {
  const others = LAYERS.map((layer) => layer.name).filter(
    (other) => other !== name && imports?.includes(other) === false,
  );
  const patterns: Pattern[] = others.length === 0 ? [] : [{ regex: foldersBeside(others), message: reason }];
  if (others.includes('sdk')) patterns.push({ regex: '^nephos(?:/|$)', message: reason });
  if (node !== undefined) {
    const allowed = node.map((one) => `!${one}`);
    patterns.push({ group: ['node:*', 'node:*/**', ...allowed], message: reason });
    patterns.push({ regex: `^(?:${OLD_NAMES})(?:/|$)`, message: reason });
  }
  for (const rule of PACKAGE_RULES)
    if (rule.layer !== name) patterns.push({ regex: `^${rule.name}(?:/|$)`, message: rule.reason });
  return patterns;
}

/** Relative paths to folders beside one of the folders that contain the file. */
function foldersBeside(names: readonly string[], parent?: string): string {
  const prefix = parent === undefined ? '' : `(?:${parent}/)?`;
  return String.raw`(?:^|/)\.\./${prefix}(?:${names.join('|')})/`;
}
