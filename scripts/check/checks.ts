// The checks that read the sources of the repository: words, cycles, layers, architecture.
import { existsSync, readFileSync } from 'node:fs';
import { DOCUMENT, productSources, withPictures, wrongCalls } from './architecture.ts';
import { findCycles, renderCycle } from './cycles.ts';
import { renderFinding } from './findings.ts';
import { importsOf, referencesOf } from './imports.ts';
import { layerViolation, renderViolation, throughExports } from './layers.ts';
import { LINT_FILE, lintRules } from './lint-layers.ts';
import { missingPaths, outsideReferences } from './paths.ts';
import { isTypeScript, readSources } from './sources.ts';
import { findMisspellings, loadDictionary } from './spelling.ts';
import { WAYS } from './ways.ts';
import { findWords } from './words.ts';

export interface Outcome {
  /** one for each place to change; none: the check has passed */
  readonly findings: readonly string[];
  readonly summary: string;
}

/** Looks for words in all files, or in those below `paths`. */
export function checkWords(paths: readonly string[]): Outcome {
  const isNamed = (file: string): boolean =>
    paths.length === 0 ||
    paths.some((path) => file === path || file.startsWith(`${path.replace(/\/$/, '')}/`));
  const files = readSources('.').filter(({ path }) => isNamed(path));
  const projectWords = readFileSync('scripts/check/dictionary.txt', 'utf8').trimEnd().split('\n');
  const dictionary = loadDictionary(projectWords);
  const findings = files.flatMap((file) => [...findWords(file), ...findMisspellings(file, dictionary)]);
  const counted = new Map<string, number>();
  for (const { path } of findings) counted.set(folderOf(path), (counted.get(folderOf(path)) ?? 0) + 1);
  const counts = [...counted].map(([folder, count]) => `${folder} ${count}`);
  return {
    findings: findings.map(renderFinding),
    summary: `${findings.length} findings in ${files.length} files${counts.length > 0 ? `: ${counts.join(', ')}` : ''}`,
  };
}

/** Looks for import cycles in all TypeScript files: imports lead anywhere. */
export function checkCycles(): Outcome {
  const files = readSources('.').filter(isTypeScript);
  const cycles = findCycles(files.flatMap(importsOf));
  const count = (kind: string): number => cycles.filter((cycle) => cycle.kind === kind).length;
  return {
    findings: cycles.map(renderCycle),
    summary: `${count('type')} type cycles, ${count('runtime')} runtime cycles in ${files.length} files`,
  };
}

/** Looks for imports that the layers forbid. */
export function checkLayers(): Outcome {
  const references = readSources('.').filter(isTypeScript).flatMap(referencesOf);
  const findings = [...references, ...throughExports(references)].flatMap((reference) => {
    const reason = layerViolation(reference);
    return reason === undefined ? [] : [renderViolation(reference, reason)];
  });
  return {
    findings: [...new Set(findings)],
    summary: `${findings.length} of ${references.length} imports break the rules of the layers`,
  };
}

/** Looks at the pictures of the architecture: whether they are those of the sources, and each call an import. */
export function checkArchitecture(): Outcome {
  const files = readSources('.');
  const imports = productSources(files).flatMap(importsOf);
  const document = readFileSync(DOCUMENT, 'utf8');
  const isStale = withPictures(document, files) !== document;
  const isOldRules = !existsSync(LINT_FILE) || readFileSync(LINT_FILE, 'utf8') !== lintRules();
  const findings = [
    ...wrongCalls(WAYS, imports),
    ...(isStale ? [`${DOCUMENT}: the pictures are stale: npm run architecture renews them`] : []),
    ...(isOldRules
      ? [`${LINT_FILE}: the rules are not those of layers.ts: npm run architecture renews them`]
      : []),
    ...['AGENTS.md', 'CONTRIBUTING.md', DOCUMENT].flatMap((path) => missingPaths(path, files)),
    ...files.flatMap(outsideReferences(files)),
  ];
  return { findings, summary: `pictures of the layers and of ${WAYS.length} requests, paths in documents` };
}

/** Folder in which a finding is counted: a layer of src/, another folder, or a file of the root. */
function folderOf(path: string): string {
  const [first = '', second = '', third] = path.split('/');
  return first === 'src' && third !== undefined ? `${first}/${second}` : first;
}
