// `npm test`: runs the unit tests in one process, then the tests with guests in a process per file.
// With `unit` it runs the unit tests only, in this process; with `slow` those of tests/slow/, with `kata` those of tests/kata/.
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import { findProgram } from '../src/qemu/process/program.ts';
import { missingForKata } from '../tests/kata/support/home.ts';

const runVariable = 'NEPHOS_TEST_RUN';

/**
 * Tests that read all network interfaces of the host, which no other test may make at the same time, and tests that measure stalls of an event
 * loop, which the guests of other tests cause too.
 */
const ALONE = /\/(net|bad-input|permissions|requests\.fuzz)[^/]*\.test\.js$/;

/** Suites that `npm test` leaves out: one takes many minutes, one needs Kata Containers. */
const SUITES = { slow: /\/slow\/[^/]*\.test\.js$/, kata: /\/kata\/[^/]*\.test\.js$/ } as const;
type Suite = keyof typeof SUITES;

if (process.argv[2] === 'unit') {
  const temporary = makeTemporaryFolder();
  process.env['TMPDIR'] = temporary;
  process.once('exit', () => rmSync(temporary, { recursive: true, force: true }));
  const files = ['build/src', 'build/scripts', 'build/bench'].flatMap(testFiles);
  for (const file of files) await import(pathToFileURL(resolve(file)).href);
} else {
  const suite = Object.keys(SUITES).find((name): name is Suite => name === process.argv[2]);
  const missing = suite === 'kata' ? missingForKata() : [];
  for (const reason of missing) console.error(`npm run test:kata: ${reason}`);
  process.exitCode = missing.length > 0 ? 1 : await runAll(suite);
}

/** Test files that share a concurrency and a time limit. */
interface Batch {
  readonly files: readonly string[];
  readonly concurrency: number;
  /** limit for one file */
  readonly minutes: number;
}

function usualBatches(): Batch[] {
  const usual = testFiles('build/tests').filter(
    (file) => !Object.values(SUITES).some((one) => one.test(file)),
  );
  const [alone, together] = partition(usual, (file) => ALONE.test(file));
  return [
    { files: together, concurrency: 2, minutes: 10 },
    { files: alone, concurrency: 1, minutes: 10 },
  ];
}

function suiteBatches(suite: Suite): Batch[] {
  const files = testFiles('build/tests').filter((file) => SUITES[suite].test(file));
  return [{ files, concurrency: 1, minutes: 90 }];
}

async function runAll(suite: Suite | undefined): Promise<number> {
  const run = randomUUID();
  const temporary = makeTemporaryFolder();
  const environment = { ...process.env, [runVariable]: run, TMPDIR: temporary, ...markQemu(temporary) };
  const node = (...args: string[]): boolean =>
    spawnSync(process.execPath, ['--enable-source-maps', '--test-reporter=spec', ...args], {
      stdio: 'inherit',
      env: environment,
    }).status === 0;

  const failed: string[] = [];
  if (suite === undefined) {
    console.log('unit tests');
    if (!node('build/scripts/test.js', 'unit')) failed.push('unit tests');
  }
  for (const { files, concurrency, minutes } of suite === undefined ? usualBatches() : suiteBatches(suite)) {
    if (files.length === 0) continue;
    console.log(`guest tests, ${concurrency} at a time`);
    const options = ['--test', `--test-concurrency=${concurrency}`, `--test-timeout=${minutes * 60_000}`];
    if (!node(...options, ...files)) failed.push('guest tests');
  }
  const left = await endLeftovers([run, temporary]);
  if (left.length > 0) failed.push(`QEMU left running: ${left.join('; ')}`);
  rmSync(temporary, { recursive: true, force: true });

  for (const reason of failed) console.error(`npm test: failed: ${reason}`);
  return failed.length > 0 ? 1 : 0;
}

/** Makes the folder for the temporary files of a run. */
function makeTemporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-test-'));
  // a QEMU that runs as another user has a path through it
  chmodSync(folder, 0o711);
  return folder;
}

function partition<T>(values: readonly T[], holds: (value: T) => boolean): [T[], T[]] {
  return [values.filter(holds), values.filter((value) => !holds(value))];
}

/** Marks QEMU by its path: the VMM does not pass its environment on, so a QEMU that a test leaves is found by the path. */
function markQemu(folder: string): NodeJS.ProcessEnv {
  const qemu = findProgram('qemu-system-x86_64', process.env['NEPHOS_QEMU']);
  if (qemu === undefined) return {};
  const marked = join(folder, 'qemu-system-x86_64');
  symlinkSync(resolve(qemu), marked);
  return { NEPHOS_QEMU: marked };
}

/** Compiled tests below a folder, without those whose source was removed. */
function testFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(folder, name))
    .filter((file) => existsSync(relative('build', file).replace(/\.js$/, '.ts')))
    .toSorted();
}

/** Kills each QEMU of this run that is left after the tests, two seconds later. Returns them. */
async function endLeftovers(marks: readonly string[]): Promise<string[]> {
  const deadline = Date.now() + 2000;
  let left = qemuProcesses(marks);
  while (left.length > 0 && Date.now() < deadline) {
    await delay(100);
    left = qemuProcesses(marks);
  }
  for (const { pid } of left) spawnSync('kill', ['-KILL', String(pid)]);
  return left.map(({ pid, command }) => `pid ${pid} (${command.slice(0, 200)})`);
}

/** QEMU processes whose environment or command line carries one of the marks of this run (Linux only). */
function qemuProcesses(marks: readonly string[]): { pid: number; command: string }[] {
  if (!existsSync('/proc/self/environ')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), command: read(`/proc/${name}/cmdline`).replaceAll('\0', ' ') }))
    .filter(({ command }) => /^\S*qemu-system/.test(command))
    .filter(({ pid, command }) => {
      const text = command + read(`/proc/${pid}/environ`);
      return marks.some((mark) => text.includes(mark));
    });
}

/** Returns an empty text if the process has exited. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
