import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { isSingleExecutable } from '../util/own-program.ts';
import { Client } from './client.ts';
import { LaunchError } from './errors.ts';
import { findExecutable } from './executable.ts';
import { TransportError } from './transport.ts';

/** Source of VMMs that are started already, e.g. a `VmmPool`. */
export interface VmmSource {
  /** Returns a VMM without a VM, which the caller owns. Rejects with LaunchError, also on abort */
  readonly take: (options: { readonly signal?: AbortSignal }) => Promise<VmmProcess>;
}

/** Options for starting a VMM. */
export interface VmmOptions {
  /** A `VmmPool` that has the VMM ready; not together with an executable, a socket path, arguments or time limits of its own */
  readonly pool?: VmmSource;
  /** Path of `cloud-hypervisor`; that of this package by default */
  readonly executable?: string;
  /** Path of the API's socket, 107 bytes at most; a new one in the directory of temporary files by default */
  readonly socketPath?: string;
  /** Further arguments, e.g. `['-v', '--log-file', '/var/log/vm.log']` */
  readonly args?: readonly string[];
  /** Time limit for its first answer, in `milliseconds`; 10,000 by default */
  readonly startTimeoutMs?: number;
  /** Time limit for its exit on disposal, in `milliseconds`, before it is killed; 5000 by default */
  readonly endTimeoutMs?: number;
  /** Aborts the start until its promise settles; the VMM is then ended */
  readonly signal?: AbortSignal;
}

/** Exit of a VMM: its exit code, 0 after the guest's power-off, or the signal that killed it. */
export interface VmmEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child VMM. It exits when this process exits, for any reason. */
export interface VmmProcess extends AsyncDisposable {
  readonly pid: number;
  readonly client: Client;
  /** Events of the VMM and its VM, in the format of `--event-monitor` */
  readonly events: Readable;
  /** Settles when it exits; never rejects */
  readonly ended: Promise<VmmEnd>;
  /** Returns true if its disposal ends it; false if it had begun to exit by itself */
  readonly isDisposed: () => boolean;
}

const START_TIMEOUT_MS = 10_000;
const END_TIMEOUT_MS = 5000;
const POLL_MS = 5;
const OUTPUT_KEPT = 4096;
/** Descriptor to which the VMM writes its events. */
const EVENTS = 3;

/**
 * Starts a VMM with a socket of its own. The VMM removes the socket on exit, also if this process is killed.
 * Rejects with LaunchError if the start fails or is aborted; then nothing is left.
 */
export async function startVmm({ pool, ...options }: VmmOptions = {}): Promise<VmmProcess> {
  if (options.signal?.aborted === true) throw new LaunchError('the start was aborted');
  if (pool !== undefined) return takeVmm(pool, options);
  const executable = findExecutable(options.executable ?? ownExecutable());
  const client = new Client(options.socketPath ?? randomSocketPath());
  const child = launch(client.socketPath, { ...options, executable });
  const ended = endOf(child);
  const lastOutput = collectOutput(child);
  let isDisposed = false;
  const dispose = async (): Promise<void> => {
    const onEnding = (): boolean => (isDisposed = true);
    await end(child, client, { timeoutMs: options.endTimeoutMs ?? END_TIMEOUT_MS, onEnding });
    // a killed VMM leaves its socket
    rmSync(client.socketPath, { force: true });
  };
  try {
    await untilReady(child, client, options);
  } catch (error) {
    child.kill('SIGKILL');
    await dispose();
    throw new LaunchError(`the VMM did not start: ${lastOutput() || String(error)}`, { cause: error });
  }
  return {
    pid: child.pid ?? 0,
    client,
    events: eventsOf(child),
    ended,
    isDisposed: () => isDisposed,
    [Symbol.asyncDispose]: dispose,
  };
}

/** Options that a VMM of a pool has from the pool. */
const OF_POOL = ['executable', 'socketPath', 'args', 'startTimeoutMs', 'endTimeoutMs'] as const;

/** Takes a VMM of a pool. @throws LaunchError for options that the pool has decided */
function takeVmm(pool: VmmSource, options: Omit<VmmOptions, 'pool'>): Promise<VmmProcess> {
  const given = OF_POOL.filter((name) => options[name] !== undefined);
  if (given.length > 0)
    throw new LaunchError(`${given.join(', ')}: not with a pool, whose VMMs are started already`);
  return pool.take(options.signal === undefined ? {} : { signal: options.signal });
}

function randomSocketPath(): string {
  return join(tmpdir(), `nephos-${randomBytes(12).toString('base64url')}.sock`);
}

/** Exits if the parent was killed before setpriv took effect: the kernel then sends no signal. */
const UNLESS_ORPHAN = '[ "$PPID" = "$0" ] && exec "$@"';

interface LaunchOptions extends VmmOptions {
  readonly executable: string;
}

/** Starts the VMM under `setpriv`, with which the kernel signals it when this process exits. */
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

/** Path of the VMM of this package; beside a single executable. */
export function ownExecutable(): string {
  if (isSingleExecutable()) return join(dirname(process.execPath), 'cloud-hypervisor');
  // the bundle of a program is no module
  if (typeof __dirname === 'string') return join(__dirname, '../bin/cloud-hypervisor');
  const found = createRequire(import.meta.url).resolve('nephos/package.json');
  return join(dirname(found), 'bin', 'cloud-hypervisor');
}

function endOf(child: ChildProcess): Promise<VmmEnd> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

function collectOutput(child: ChildProcess): () => string {
  let text = '';
  child.once('error', (error) => (text += error.message));
  child.stderr?.setEncoding('utf8').on('data', (part: string) => {
    text = (text + part).slice(-OUTPUT_KEPT);
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
    if (signal?.aborted === true) throw new Error('the start was aborted', { cause: signal.reason });
    if (isOver(child)) throw new Error('it exited');
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

interface EndOptions {
  readonly timeoutMs: number;
  /** Called when the VMM ends because of this call */
  readonly onEnding: () => void;
}

/** Ends a VMM with vmm.shutdown, and with SIGKILL after the time limit. */
async function end(child: ChildProcess, client: Client, { timeoutMs, onEnding }: EndOptions): Promise<void> {
  if (isOver(child)) return;
  const gone = once(child, 'exit');
  const timer = setTimeout(() => {
    onEnding();
    child.kill('SIGKILL');
  }, timeoutMs);
  await client.call('vmm.shutdown', undefined, { timeoutMs }).then(onEnding, (error: unknown) => {
    // a VMM that exits by itself closes its socket
    if (!(error instanceof TransportError && (error.fault === 'connect' || error.fault === 'io'))) onEnding();
    child.kill('SIGTERM');
  });
  if (!isOver(child)) await gone;
  clearTimeout(timer);
}

function isOver({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid === undefined || exitCode !== null || signalCode !== null;
}
