import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { request, type Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childrenOf, threadsOf } from './processes.ts';
import { addWitness, until } from './wait.ts';

/** An answer of the API; `json` is undefined where there is no body. */
export interface Answer {
  readonly status: number;
  readonly json: unknown;
}

/** A VMM that a test started, as a user would: the executable, with its API socket in a folder of its own. */
export interface TestVmm {
  readonly pid: number;
  readonly folder: string;
  readonly socket: string;
  /** all of its standard output and error so far */
  readonly output: () => string;
  readonly exitCode: () => number | null;
  /** Waits for its end and returns the exit code, or the signal's name. */
  readonly exited: Promise<number | string>;
  readonly put: (path: string, body?: unknown) => Promise<Answer>;
  readonly get: (path: string) => Promise<Answer>;
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly child: ChildProcess;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

interface Options {
  readonly args?: readonly string[];
  /** false: without `--api-socket` */
  readonly api?: boolean;
  readonly env?: NodeJS.ProcessEnv;
  /** another place for the API socket than the VMM's folder */
  readonly socket?: string;
  /** the path of the API socket as the VMM knows it, where it has another root folder */
  readonly socketInside?: string;
  /** its standard input: nothing, unless a descriptor is given */
  readonly stdin?: number;
  /** descriptors that it has as 3, 4 and so on */
  readonly inherited?: readonly number[];
  /** an executable to start instead of bin/cloud-hypervisor, e.g. of build/binary/; NEPHOS_TEST_PROGRAM names it for all tests */
  readonly program?: string | undefined;
  /** a command that starts it, with its words: `setpriv` takes rights away */
  readonly through?: readonly string[];
  /** a terminal's path: standard input and output, and the one that sends it signals */
  readonly terminal?: string;
}

/** The repository: tests are run from it. */
export const REPO = process.cwd();

/** Makes a folder for a test's files; the caller removes it. */
export function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), 'vmm-'));
}

/** Starts bin/cloud-hypervisor; with an API it is ready when this returns. */
export async function startVmm({
  args = [],
  api = true,
  env = {},
  ...options
}: Options = {}): Promise<TestVmm> {
  const folder = makeFolder();
  const socket = options.socket ?? join(folder, 'api.sock');
  const words = [
    ...programWords(options.program),
    '-v',
    ...(api ? ['--api-socket', `path=${options.socketInside ?? socket}`] : []),
    ...args,
  ];
  const child = launch(words, { env: { ...process.env, ...env }, ...options });
  let output = '';
  const keep = (bytes: Buffer): void => {
    output += bytes.toString('utf8');
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  const exited = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  const removeWitness = addWitness(() => `${output}\n${threadsOf(childrenOf(child.pid ?? 0))}`);
  const vmm: TestVmm = {
    pid: child.pid ?? 0,
    folder,
    socket,
    output: () => output,
    exitCode: () => child.exitCode,
    exited,
    put: (path, body) => call(socket, 'PUT', { path, body }),
    get: (path) => call(socket, 'GET', { path }),
    kill: (signal) => void child.kill(signal),
    child,
    [Symbol.asyncDispose]: async () => {
      removeWitness();
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
  if (api) await untilReady(vmm);
  return vmm;
}

/** Waits for the API; fails at once where the program ends. */
async function untilReady(vmm: TestVmm): Promise<void> {
  const answers = async (): Promise<boolean> => (await vmm.get('vmm.ping')).status === 200;
  const hasEnded = (): boolean => vmm.exitCode() !== null;
  await until('the API answers', async () => hasEnded() || (await answers()));
  if (hasEnded()) assert.fail(`the program ended with ${vmm.exitCode()}: ${vmm.output()}`);
}

function programWords(program = process.env['NEPHOS_TEST_PROGRAM']): string[] {
  return program === undefined ? [process.execPath, join(REPO, 'bin/cloud-hypervisor')] : [program];
}

type LaunchOptions = Pick<Options, 'env' | 'stdin' | 'inherited' | 'terminal' | 'through'>;

function launch(words: string[], options: LaunchOptions): ChildProcess {
  const { env, stdin = 'ignore', inherited = [], terminal, through = [] } = options;
  if (terminal === undefined) {
    const [program, ...rest] = [...through, ...words];
    return spawn(program ?? '', rest, { stdio: [stdin, 'pipe', 'pipe', ...inherited], env });
  }
  const fd = openSync(terminal, constants.O_RDWR | constants.O_NOCTTY);
  try {
    // the terminal's signals go to its own session: Ctrl-C ends what does not take it in raw mode
    return spawn('setsid', ['--ctty', ...words], { stdio: [fd, fd, 'pipe'], env });
  } finally {
    closeSync(fd);
  }
}

/** Fails with the answer's body when the status is another. */
export function assertStatus(answer: Answer, status: number): void {
  assert.equal(answer.status, status, `answered ${answer.status} ${JSON.stringify(answer.json)}`);
}

interface Call {
  readonly path: string;
  readonly body?: unknown;
  /** who keeps the connection for the next request; without one each has its own */
  readonly agent?: Agent;
}

/** One request; rejects when the VMM is gone. */
export function call(socketPath: string, method: string, { path, body, agent }: Call): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath, method, path: `/api/v1/${path}`, agent: agent ?? false },
      (incoming) => {
        let text = '';
        incoming.setEncoding('utf8');
        incoming.on('data', (part: string) => (text += part));
        incoming.on('error', reject);
        incoming.on('end', () => {
          resolve({
            status: incoming.statusCode ?? 0,
            json: text === '' ? undefined : (JSON.parse(text) as unknown),
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
