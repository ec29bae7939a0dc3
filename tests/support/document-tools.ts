// Programs of others that tests run: readers of the served documents, tests of file systems. Each is installed once, in its own folder of the cache, at the version named here.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const cache =
  process.env['NEPHOS_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'nephos');

/** Output and exit code of a program. */
export interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** killed after so many minutes */
  readonly minutes?: number;
}

/** Runs a program to its end. Rejects where it cannot be started, naming it. */
export function run(
  words: readonly string[],
  { cwd, env = {}, minutes = 10 }: RunOptions = {},
): Promise<Outcome> {
  const [program = '', ...rest] = words;
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: minutes * 60_000,
      killSignal: 'SIGKILL',
    });
    let output = '';
    const keep = (bytes: Buffer): void => {
      output += bytes.toString('utf8');
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', (cause) =>
      reject(new Error(`${program} is missing: install it, then start again`, { cause })),
    );
    child.once('close', (code) => resolve({ code, output }));
  });
}

/** Runs a program and returns what it printed. Rejects with that where it fails. */
export async function output(words: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, output: text } = await run(words, options);
  if (code === 0) return text;
  throw new Error(`${words.join(' ')} ended with ${code}:\n${text.slice(-8000)}`);
}

/** Returns the folder with an installed tool, where `install` puts it the first time. */
async function installed(name: string, install: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(cache, 'document-tools', name);
  const mark = join(folder, 'installed');
  if (existsSync(mark)) return folder;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  try {
    await install(folder);
  } catch (cause) {
    throw new Error(`${name} is missing, and cannot be installed in ${folder}`, { cause });
  }
  writeFileSync(mark, '');
  return folder;
}

/** Returns the folder with the programs of Python packages, e.g. `schemathesis==4.32.5`. */
export async function pythonTools(...packages: readonly string[]): Promise<string> {
  const name = packages.join('+').replaceAll(/[^\w.+-]+/g, '-');
  const folder = await installed(name, async (at) => {
    await output(['python3', '-m', 'venv', at]);
    await output([join(at, 'bin', 'pip'), 'install', '--quiet', ...packages]);
  });
  return join(folder, 'bin');
}

/** Returns a program made from a Go package, e.g. `example.org/tool/cmd/tool@v1.0.0`. */
export async function goTool(source: string): Promise<string> {
  const [path = '', version = ''] = source.split('@');
  const program = path.split('/').at(-1) ?? '';
  const folder = await installed(`${program}-${version}`, async (at) => {
    await output([await goProgram(), 'install', source], { env: { GOBIN: at } });
  });
  return join(folder, program);
}

/** Returns the folder with the programs of a Rust crate, e.g. `fsx@0.3.2`. */
export async function cargoTools(crate: string): Promise<string> {
  const folder = await installed(crate.replace('@', '-'), async (at) => {
    await output(['cargo', 'install', '--quiet', '--locked', '--root', at, crate], { minutes: 30 });
  });
  return join(folder, 'bin');
}

/** Returns the Go compiler. Rejects where there is none. */
export async function goProgram(): Promise<string> {
  const usual = '/usr/local/go/bin/go';
  const program = existsSync(usual) ? usual : 'go';
  await output([program, 'version']);
  return program;
}

/** Returns the folder with the programs of an npm package, e.g. `openapi-typescript@7.13.0`. */
export async function npmTools(...packages: readonly string[]): Promise<string> {
  const name = packages.join('+').replaceAll(/[^\w.+-]+/g, '-');
  const folder = await installed(name, async (at) => {
    writeFileSync(join(at, 'package.json'), '{"private":true}');
    await output(['npm', 'install', '--no-audit', '--no-fund', '--prefix', at, ...packages]);
  });
  return join(folder, 'node_modules', '.bin');
}
