import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Guest, GuestProcess, SpawnOptions, TerminalSize } from '../../guest/guest.ts';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { onAbort } from '../../util/shutdown-signals.ts';
import type { RunError } from '../errors.ts';
import { RUN_EXIT } from '../run-request.ts';
import { exitCodeOf, type RunExit } from './command-exit.ts';

/** Standard streams of a command. */
export interface CommandStreams {
  /** undefined: the command reads end of file */
  readonly stdin: Readable | undefined;
  /** Each gets all output; the slowest one decides the speed */
  readonly stdout: readonly Writable[];
  readonly stderr: readonly Writable[];
}

/** The command of a run. */
export interface MainCommand {
  readonly argv: readonly string[];
  readonly options: Omit<SpawnOptions, 'signal' | 'timeoutMs'>;
  /** Time limit, in milliseconds */
  readonly timeoutMs: number | undefined;
}

/** Control of a command that runs. */
export interface CommandControl {
  /** Ends the run at once; the reason is a {@link RunExit} */
  readonly stop: AbortSignal;
  /** Called when the command has started */
  readonly onStarted: (command: StartedCommand) => void;
}

/** A command that runs. */
export interface StartedCommand {
  /** Sends a signal, e.g. `TERM`, to the process group of the command */
  readonly kill: (signal: string) => void;
  readonly resize: (size: TerminalSize) => void;
}

/** Time between SIGTERM at the time limit and the exit of the VM, in milliseconds. */
const TERM_MS = 1000;

/** Time in which the reason of a broken connection becomes known, in milliseconds: the VMM reports it. */
const REASON_MS = 3000;

/**
 * Runs the command of a run and waits for its exit, its time limit, or the exit of the guest, whichever is first.
 * `failed` settles when the VM has ended. Rejects with GuestError if the command cannot be started.
 */
export async function runCommand(
  guest: Guest,
  failed: Promise<RunError>,
  { command, streams, control }: { command: MainCommand; streams: CommandStreams; control: CommandControl },
): Promise<RunExit> {
  const process = await guest.spawn([...command.argv], command.options);
  const kill = (signal: string): void => void process.kill(signal).catch(() => undefined);
  control.onStarted({ kill, resize: (size) => process.resize(size) });
  const ended = new AbortController();
  const limit = startTimeLimit(command.timeoutMs, kill, ended.signal);
  const crash = failed.then(exitOfGuest);
  try {
    const exit = await Promise.race([
      exitOf(process, streams, {
        kill,
        crash,
        ended: ended.signal,
        hasTerminal: command.options.pty !== undefined,
      }),
      crash,
      stopOf(control.stop, ended.signal),
      limit.expired,
    ]);
    return limit.exit() ?? exit;
  } finally {
    ended.abort();
  }
}

/** Returns the exit of a run whose guest has ended: the code that the guest chose, or that of a crash. */
export function exitOfGuest({ message, exitCode }: RunError): RunExit {
  return exitCode === undefined ? { code: RUN_EXIT.crashed, reason: message } : { code: exitCode };
}

/** Ctrl-D: the end of the connection's input is no end of file for the reader of a terminal. */
const END_OF_FILE = '\u0004';

interface ExitContext {
  readonly kill: (signal: string) => void;
  readonly crash: Promise<RunExit>;
  readonly ended: AbortSignal;
  readonly hasTerminal: boolean;
}

/** Waits for the exit of the command after both outputs are written. */
async function exitOf(
  process: GuestProcess,
  streams: CommandStreams,
  { kill, crash, ended, hasTerminal }: ExitContext,
): Promise<RunExit> {
  process.stdin.on('error', () => undefined);
  if (streams.stdin === undefined) process.stdin.end(hasTerminal ? END_OF_FILE : '');
  else streams.stdin.on('error', () => process.stdin.end()).pipe(process.stdin);
  const outputs = Promise.all([
    copyOutput(process.stdout, streams.stdout, kill),
    copyOutput(process.stderr, streams.stderr, kill),
  ]);
  // both reject where the connection breaks
  outputs.catch(() => undefined);
  try {
    const exit = await process.exited;
    await outputs;
    return { code: exitCodeOf(exit) };
  } catch (error) {
    const lost = { code: RUN_EXIT.crashed, reason: `the connection to the guest broke: ${reasonOf(error)}` };
    return Promise.race([crash, delay(REASON_MS, lost, { signal: ended }).catch(() => lost)]);
  }
}

/**
 * Copies an output until it ends. After an output of this process is closed, the command gets SIGPIPE, as it would on this host, and the
 * rest is discarded.
 */
async function copyOutput(
  from: Readable,
  to: readonly Writable[],
  kill: (signal: string) => void,
): Promise<void> {
  const open = new Set(to);
  for (const one of to) {
    one.on('error', (error) => {
      if (open.delete(one) && codeOf(error) === 'EPIPE') kill('PIPE');
    });
  }
  for await (const bytes of from) {
    const full = [...open].filter((one) => !one.write(bytes));
    await Promise.all(full.map(drained));
  }
}

/** Waits until a stream can take more bytes, or is closed. */
async function drained(stream: Writable): Promise<void> {
  if (stream.destroyed || !stream.writableNeedDrain) return;
  const settled = new AbortController();
  const { signal } = settled;
  try {
    await Promise.race([once(stream, 'drain', { signal }), once(stream, 'close', { signal })]);
  } catch {
    // the handler of its errors has closed it
  } finally {
    settled.abort();
  }
}

function stopOf(stop: AbortSignal, ended: AbortSignal): Promise<RunExit> {
  return new Promise((resolve) => {
    const remove = onAbort(stop, () => resolve(reasonOfStop(stop)));
    ended.addEventListener('abort', remove);
  });
}

function reasonOfStop({ reason }: AbortSignal): RunExit {
  const value: unknown = reason;
  return typeof value === 'object' && value !== null && 'code' in value && typeof value.code === 'number'
    ? { code: value.code }
    : { code: RUN_EXIT.failed, reason: String(value) };
}

/** The time limit of a command. */
interface TimeLimit {
  /** Settles when the command has had time to end after SIGTERM */
  readonly expired: Promise<RunExit>;
  /** Returns the exit of a command whose time limit has expired */
  readonly exit: () => RunExit | undefined;
}

/** Sends SIGTERM at the time limit. */
function startTimeLimit(
  ms: number | undefined,
  kill: (signal: string) => void,
  ended: AbortSignal,
): TimeLimit {
  const never = new Promise<RunExit>(() => undefined);
  if (ms === undefined) return { expired: never, exit: () => undefined };
  let exit: RunExit | undefined;
  const wait = { signal: ended };
  const expire = async (): Promise<RunExit> => {
    await delay(ms, undefined, wait);
    const expired = { code: RUN_EXIT.timeout, reason: `the time limit of ${ms / 1000} s expired` };
    exit = expired;
    kill('TERM');
    await delay(TERM_MS, undefined, wait);
    return expired;
  };
  // rejects after the command has ended
  return { expired: expire().catch(() => never), exit: () => exit };
}
