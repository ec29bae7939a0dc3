// `npm run check`: types, lint, format and the checks of this folder at the same time, each with its findings.
// With names of checks only those run: `npm run check -- words src/vm docs` looks for words in two folders.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { checkArchitecture, checkCycles, checkLayers, checkWords, type Outcome } from './checks.ts';

/** Programs of packages, with their arguments. */
const PROGRAMS = {
  types: ['tsc', '--noEmit'],
  page: ['tsc', '--noEmit', '-p', 'src/web/page'],
  lint: ['oxlint', '--type-aware'],
  format: ['oxfmt', '--check'],
} as const;

/** Checks that read the sources in this process; `paths` limits the files. */
const CHECKS: Readonly<Record<string, (paths: readonly string[]) => Outcome>> = {
  words: checkWords,
  cycles: checkCycles,
  layers: checkLayers,
  architecture: checkArchitecture,
};

/** Checks that `npm run check` runs. */
const USUAL = ['words', 'cycles', 'layers', 'architecture'];

const [name, ...paths] = process.argv.slice(2);
const outcomes = name === undefined ? await runAll() : [await runOne(name, paths)];
process.exitCode = outcomes.includes('unknown') ? 2 : outcomes.includes('failed') ? 1 : 0;

type Result = 'passed' | 'failed' | 'unknown';

async function runAll(): Promise<Result[]> {
  const programs = Object.entries(PROGRAMS).map(([check, command]) => runProgram(check, command));
  const checks = USUAL.map((check) => runOne(check, []));
  return Promise.all([...programs, ...checks]);
}

async function runOne(check: string, within: readonly string[]): Promise<Result> {
  const run = CHECKS[check];
  if (run === undefined) {
    console.error(`no check is called ${check}; there are ${Object.keys(CHECKS).join(', ')}`);
    return 'unknown';
  }
  // the programs start first
  await delay(0);
  const start = performance.now();
  const { findings, summary } = run(within);
  return report(check, { passed: findings.length === 0, start, text: findings.join('\n'), summary });
}

function runProgram(check: string, [program, ...args]: readonly [string, ...string[]]): Promise<Result> {
  const start = performance.now();
  return new Promise((done) => {
    const child = spawn(join('node_modules', '.bin', program), args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString('utf8')));
    child.stderr.on('data', (bytes: Buffer) => (text += bytes.toString('utf8')));
    child.on('error', (error) => (text += `${error.message}\n`));
    child.on('close', (code) => {
      const passed = code === 0;
      done(report(check, { passed, start, text: passed ? '' : text, summary: program }));
    });
  });
}

interface Report {
  readonly passed: boolean;
  /** time at which the check began, as `performance.now()` has it */
  readonly start: number;
  readonly text: string;
  readonly summary: string;
}

function report(check: string, { passed, start, text, summary }: Report): Result {
  if (text !== '') console.log(text.trimEnd());
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`check:${check}: ${passed ? 'passed' : 'failed'}: ${summary} (${seconds} s)`);
  return passed ? 'passed' : 'failed';
}
