// `npm run check:words` and the like: runs the checks that are named, and prints their findings.
import { readFileSync } from 'node:fs';
import { findCycles, renderCycle } from './cycles.ts';
import { renderFinding } from './findings.ts';
import { importsOf } from './imports.ts';
import { isTypeScript, readSources } from './sources.ts';
import { findMisspellings, loadDictionary } from './spelling.ts';
import { findWords } from './words.ts';

type Check = (paths: readonly string[]) => { readonly findings: readonly string[]; readonly summary: string };

const CHECKS: Readonly<Record<string, Check>> = { words: checkWords, cycles: checkCycles };

const [name = '', ...paths] = process.argv.slice(2);
const check = CHECKS[name];
if (check === undefined) {
  console.error(`no such check: ${name}; there are ${Object.keys(CHECKS).join(', ')}`);
  process.exitCode = 2;
} else {
  const { findings, summary } = check(paths);
  for (const finding of findings) console.log(finding);
  console.log(`check:${name}: ${summary}`);
  process.exitCode = findings.length > 0 ? 1 : 0;
}

/** Looks at all files, or at those below `paths`. */
function checkWords(paths: readonly string[]): ReturnType<Check> {
  const isNamed = (file: string): boolean =>
    paths.length === 0 ||
    paths.some((path) => file === path || file.startsWith(`${path.replace(/\/$/, '')}/`));
  const files = readSources('.').filter(({ path }) => isNamed(path));
  const dictionary = loadDictionary(
    readFileSync('scripts/check/dictionary.txt', 'utf8').trimEnd().split('\n'),
  );
  const findings = files.flatMap((file) => [...findWords(file), ...findMisspellings(file, dictionary)]);
  const counted = new Map<string, number>();
  for (const { path } of findings) counted.set(folderOf(path), (counted.get(folderOf(path)) ?? 0) + 1);
  const counts = [...counted].map(([folder, count]) => `${folder} ${count}`);
  return {
    findings: findings.map(renderFinding),
    summary: `${findings.length} findings in ${files.length} files${counts.length > 0 ? `: ${counts.join(', ')}` : ''}`,
  };
}

/** Looks at all TypeScript files: imports lead anywhere. */
function checkCycles(): ReturnType<Check> {
  const files = readSources('.').filter(isTypeScript);
  const cycles = findCycles(files.flatMap(importsOf));
  const count = (kind: string): number => cycles.filter((cycle) => cycle.kind === kind).length;
  return {
    findings: cycles.map(renderCycle),
    summary: `${count('type')} type cycles, ${count('runtime')} runtime cycles in ${files.length} files`,
  };
}

/** The folder that a finding is counted in: a layer of src/, another folder, or a file of the root. */
function folderOf(path: string): string {
  const [first = '', second = ''] = path.split('/');
  return first === 'src' && path.split('/').length > 2 ? `${first}/${second}` : first;
}
