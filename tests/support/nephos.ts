/** `nephos` as a user starts it, with a home of its own for VMs. */
import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { REPO } from './vmm.ts';

/** Result of a command. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder for the VMs of a test. */
export interface TestHome extends AsyncDisposable {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  /** Runs a verb until it exits. */
  readonly nephos: (...args: string[]) => Promise<Outcome>;
  /** Runs a verb in a directory. */
  readonly nephosIn: (directory: string, ...args: string[]) => Promise<Outcome>;
  /** Starts a verb on a terminal, in a session of its own. */
  readonly onTerminal: (terminal: string, ...args: string[]) => ChildProcess;
  /** Starts a verb that continues; its outputs are pipes. */
  readonly start: (...args: string[]) => ChildProcessByStdio<null, Readable, Readable>;
  /** Runs a verb with bytes as its standard input. */
  readonly nephosWith: (input: string | Buffer, ...args: string[]) => Promise<Outcome>;
}

/** Words that start the program of this repository. */
const NEPHOS = [process.execPath, join(REPO, 'bin', 'nephos')];

/** Makes a folder for VMs; the VMs in it are removed with it. The cache is that of the user. `command` starts the program. */
export function makeHome(command: readonly string[] = NEPHOS): TestHome {
  const [program = '', ...first] = command;
  const folder = mkdtempSync(join(tmpdir(), 'nephos-home-'));
  const env = { ...process.env, XDG_STATE_HOME: folder };
  const nephosWith = (input: string | Buffer, ...args: string[]): Promise<Outcome> =>
    runProgram([...command, ...args], { env, input });
  const nephos = (...args: string[]): Promise<Outcome> => nephosWith('', ...args);
  return {
    folder,
    env,
    nephos,
    nephosWith,
    nephosIn: (cwd, ...args) => runProgram([...command, ...args], { env, input: '', cwd }),
    start: (...args) => spawn(program, [...first, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] }),
    onTerminal: (terminal, ...args) => {
      const fd = openSync(terminal, constants.O_RDWR | constants.O_NOCTTY);
      try {
        const words = ['--ctty', '--wait', ...command, ...args];
        return spawn('setsid', words, { env: { ...env, TERM: 'xterm' }, stdio: [fd, fd, fd] });
      } finally {
        closeSync(fd);
      }
    },
    [Symbol.asyncDispose]: async () => {
      // a pool would replace its VMs
      if (existsSync(join(folder, 'nephos', 'pools'))) await nephos('pool', 'stop');
      const { stdout } = await nephos('ps', '-aq');
      const names = stdout.split('\n').filter(Boolean);
      if (names.length > 0) await nephos('rm', '-f', ...names);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface ProgramSettings {
  readonly env: NodeJS.ProcessEnv;
  readonly input: string | Buffer;
  readonly cwd?: string;
}

async function runProgram(
  [program = '', ...args]: readonly string[],
  { input, ...settings }: ProgramSettings,
): Promise<Outcome> {
  const child = spawn(program, args, { ...settings, stdio: ['pipe', 'pipe', 'pipe'] });
  // a command that does not read its input closes it
  child.stdin.on('error', () => undefined).end(input);
  const [stdout, stderr] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    child.exitCode === null ? once(child, 'exit') : undefined,
  ]);
  return { code: child.exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}
