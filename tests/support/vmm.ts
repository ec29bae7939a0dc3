/** VMMs that tests start as a user does, and requests to them. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { request, type Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '../../src/sdk/client.ts';
import type { Answer } from './answers.ts';
import { childrenOf, threadsOf } from './processes.ts';
import { addDiagnostics, until } from './wait.ts';

/** A VMM as a process of bin/cloud-hypervisor, with a temporary folder for its API socket and the files of the test. */
export interface TestVmm {
  readonly pid: number;
  readonly folder: string;
  readonly socket: string;
  /** standard output and standard error so far */
  readonly output: () => string;
  readonly exitCode: () => number | null;
  /** Settles when the process exits: exit code, or name of the signal. */
  readonly exited: Promise<number | string>;
  /** Sends a request with any body and returns the raw answer. */
  readonly put: (path: string, body?: unknown) => Promise<Answer>;
  readonly get: (path: string) => Promise<Answer>;
  /** Typed requests; an error answer rejects. */
  readonly client: Client;
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly child: ChildProcess;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

interface Options {
  readonly args?: readonly string[];
  /** false: without `--api-socket` */
  readonly api?: boolean;
  readonly env?: NodeJS.ProcessEnv;
  /** path of the API socket; default: in the folder of the VMM */
  readonly socket?: string;
  /** path of the API socket inside the root folder of the VMM, where that is another */
  readonly socketInside?: string;
  /** file descriptor for standard input; default: none */
  readonly stdin?: number;
  /** file descriptors that the process inherits as 3, 4 and so on */
  readonly inherited?: readonly number[];
  /** executable instead of bin/cloud-hypervisor, e.g. of build/binary/; NEPHOS_TEST_PROGRAM sets it for all tests */
  readonly program?: string | undefined;
  /** command that starts the VMM, with its arguments, e.g. `setpriv` with fewer capabilities */
  readonly through?: readonly string[];
  /** path of the terminal for standard input and output, which also sends its signals */
  readonly terminal?: string;
}

/** Root folder of the repository: tests run in it. */
export const REPO = process.cwd();

/** Makes a temporary folder; the caller removes it. */
export function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), 'vmm-'));
}

/** Starts bin/cloud-hypervisor; where it has an API socket, returns once the API answers. */
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
  const removeDiagnostics = addDiagnostics(() => `${output}\n${threadsOf(childrenOf(child.pid ?? 0))}`);
  const vmm: TestVmm = {
    pid: child.pid ?? 0,
    folder,
    socket,
    output: () => output,
    exitCode: () => child.exitCode,
    exited,
    put: (path, body) => call(socket, 'PUT', { path, body }),
    get: (path) => call(socket, 'GET', { path }),
    client: new Client(socket),
    kill: (signal) => void child.kill(signal),
    child,
    [Symbol.asyncDispose]: async () => {
      removeDiagnostics();
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
  if (api) await untilReady(vmm);
  return vmm;
}

/** Waits for the API; fails at once where the process exits. */
async function untilReady(vmm: TestVmm): Promise<void> {
  const answers = async (): Promise<boolean> => (await vmm.get('vmm.ping')).status === 200;
  const hasExited = (): boolean => vmm.exitCode() !== null;
  await until('the API answers', async () => hasExited() || (await answers()));
  if (hasExited()) assert.fail(`the VMM exited with ${vmm.exitCode()}: ${vmm.output()}`);
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
    // a session of its own receives the signals of the terminal: Ctrl-C without raw mode is SIGINT
    return spawn('setsid', ['--ctty', ...words], { stdio: [fd, fd, 'pipe'], env });
  } finally {
    closeSync(fd);
  }
}

interface Call {
  readonly path: string;
  readonly body?: unknown;
  /** reuses its connections; without one, each request has a connection of its own */
  readonly agent?: Agent;
}

/** Sends one request. Rejects where the connection fails. */
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
