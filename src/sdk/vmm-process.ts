import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from './client.ts';
import { LaunchError } from './errors.ts';
import { findExecutable } from './executable.ts';
import { TransportError } from './transport.ts';

/** How the VMM is started. */
export interface VmmOptions {
  /** The `cloud-hypervisor` to start; this package's own by default. */
  readonly executable?: string;
  /** Further words of its command line, e.g. `['-v', '--log-file', '/var/log/vm.log']`. */
  readonly args?: readonly string[];
  /** Time for it to answer, in `milliseconds`; 10,000 by default. */
  readonly startTimeoutMs?: number;
  /** Time for it to end by itself when it is disposed, in `milliseconds`, before it is killed; 5000 by default. */
  readonly endTimeoutMs?: number;
  /** Gives the start up, until the promise of it is settled: the VMM is ended then. */
  readonly signal?: AbortSignal;
}

/** How a VMM ended: the exit code, 0 after a power-off of the guest, or the signal that ended it. */
export interface VmmEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A VMM of this process: it ends when this process does, whatever ends it. */
export interface VmmProcess extends AsyncDisposable {
  readonly pid: number;
  readonly client: Client;
  /** What happens to the VMM and its VM, in the form of `--event-monitor`. */
  readonly events: Readable;
  /** Settles with its end; never rejects. */
  readonly ended: Promise<VmmEnd>;
}

const START_TIMEOUT_MS = 10_000;
const END_TIMEOUT_MS = 5000;
const POLL_MS = 5;
const LAST_WORDS = 4096;
/** The descriptor on which the VMM records its events. */
const EVENTS = 3;

/**
 * Starts a VMM with a socket of its own, which the VMM removes: where this process is killed, nothing is left either.
 * Rejects with LaunchError, and leaves nothing, where it cannot, or where it is given up.
 */
export async function startVmm(options: VmmOptions = {}): Promise<VmmProcess> {
  if (options.signal?.aborted === true) throw new LaunchError('the start was given up');
  const executable = findExecutable(options.executable ?? ownExecutable());
  const client = new Client(join(tmpdir(), `nephos-${randomBytes(12).toString('base64url')}.sock`));
  const child = launch(client.socketPath, { ...options, executable });
  const ended = endOf(child);
  const lastWords = collectLastWords(child);
  const dispose = async (): Promise<void> => {
    await end(child, client, options.endTimeoutMs ?? END_TIMEOUT_MS);
    // one that was killed has left it
    rmSync(client.socketPath, { force: true });
  };
  try {
    await untilReady(child, client, options);
  } catch (error) {
    child.kill('SIGKILL');
    await dispose();
    throw new LaunchError(`the VMM did not start: ${lastWords() || String(error)}`, { cause: error });
  }
  return { pid: child.pid ?? 0, client, events: eventsOf(child), ended, [Symbol.asyncDispose]: dispose };
}

/** The kernel's word counts from setpriv on: where we were killed before, there is no start. */
const UNLESS_ORPHAN = '[ "$PPID" = "$0" ] && exec "$@"';

interface LaunchOptions extends VmmOptions {
  readonly executable: string;
}

/** Under `setpriv`, the kernel ends it when we end; it is found on every Linux that QEMU is started on. */
function launch(socketPath: string, { executable, args = [] }: LaunchOptions): ChildProcess {
  const words = [
    executable,
    '--api-socket',
    `path=${socketPath}`,
    ...args,
    '--event-monitor',
    `fd=${EVENTS}`,
  ];
  const tied = ['setpriv', '--pdeathsig', 'TERM', '--', '/bin/sh', '-c', UNLESS_ORPHAN, String(process.pid)];
  const [command = '', ...rest] = process.platform === 'linux' ? [...tied, ...words] : words;
  return spawn(command, rest, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
}

function eventsOf({ stdio }: ChildProcess): Readable {
  const stream: unknown = stdio[EVENTS];
  return stream instanceof Readable ? stream : Readable.from([]);
}

function ownExecutable(): string {
  const found = createRequire(import.meta.url).resolve('nephos/package.json');
  return join(dirname(found), 'bin', 'cloud-hypervisor');
}

function endOf(child: ChildProcess): Promise<VmmEnd> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

function collectLastWords(child: ChildProcess): () => string {
  let text = '';
  child.once('error', (error) => (text += error.message));
  child.stderr?.setEncoding('utf8').on('data', (part: string) => {
    text = (text + part).slice(-LAST_WORDS);
  });
  return () => text.trim();
}

async function untilReady(
  child: ChildProcess,
  client: Client,
  { startTimeoutMs: timeoutMs = START_TIMEOUT_MS, signal }: VmmOptions,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!existsSync(client.socketPath) || !(await answers(client, deadline - performance.now()))) {
    if (signal?.aborted === true) throw new Error('the start was given up', { cause: signal.reason });
    if (isOver(child)) throw new Error('it ended');
    if (performance.now() > deadline) throw new Error(`no answer within ${timeoutMs} ms`);
    await delay(POLL_MS);
  }
}

async function answers(client: Client, timeoutMs: number): Promise<boolean> {
  try {
    await client.call('vmm.ping', undefined, { timeoutMs: Math.max(1, Math.ceil(timeoutMs)) });
    return true;
  } catch (error) {
    if (error instanceof TransportError) return false;
    throw error;
  }
}

/** Asks it to end, then makes it. */
async function end(child: ChildProcess, client: Client, timeoutMs: number): Promise<void> {
  if (isOver(child)) return;
  const gone = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  await client.call('vmm.shutdown', undefined, { timeoutMs }).catch(() => child.kill('SIGTERM'));
  if (!isOver(child)) await gone;
  clearTimeout(timer);
}

function isOver({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid === undefined || exitCode !== null || signalCode !== null;
}
