import { spawn, type ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';
import type { MachinePlan } from '../devices/machine-plan.ts';
import { createLog } from '../util/log.ts';
import { renderArguments } from './arguments.ts';
import { findProgram, tooOld } from './binary.ts';
import { confinementArguments, userArguments } from './confinement.ts';
import { FIRST_DESCRIPTOR, planDescriptors, withPlanPaths, type Descriptor } from './descriptors.ts';
import { collectLastWords } from './last-words.ts';
import { openOutputFiles } from './output-files.ts';
import { openQmp, type Qmp, type QmpEvent } from './qmp.ts';
import { explainStart, EngineError } from './engine-error.ts';
import { makeSteps } from './steps.ts';
import { terminate } from './terminate.ts';
import { openWaitingChannels } from './waiting-channels.ts';

const log = createLog('qemu');

/** How a QEMU ended. */
export interface QemuEnd {
  /**
   * `power-off` and `reset` are the guest's doing, `quit` ours;
   * `crash` is all else, with the exit code or signal in `detail`.
   */
  readonly reason: 'power-off' | 'reset' | 'quit' | 'crash';
  readonly detail: string;
}

/** A running QEMU, stopped before the guest's first instruction until `cont`. */
export interface Qemu {
  readonly pid: number;
  readonly qmp: Qmp;
  /** the consoles' streams, by the id of their chardev */
  readonly channels: ReadonlyMap<string, Duplex>;
  /** never rejects */
  readonly ended: Promise<QemuEnd>;
  /** Calls `take` for every event from now on, until the returned function is called. */
  readonly onEvent: (take: (event: QmpEvent) => void) => () => void;
  /** Calls `take` for every line of what is traced (`trace-event-set-state`). */
  readonly onTrace: (take: (line: string) => void) => void;
  /** Ends it and returns when it has; a second call waits for the same end. */
  readonly quit: () => Promise<void>;
}

/** A traced event: its name, then `vdev` and what it is about. Only those that the VMM asks for are written. */
const TRACE = /^virtio_set_status vdev /;

/**
 * Starts QEMU for a plan; `signal` ends the wait for a back-end.
 * Rejects with EngineError, and leaves no process and no open file, when it cannot.
 */
export async function startQemu(plan: MachinePlan, signal: AbortSignal): Promise<Qemu> {
  const descriptors = planDescriptors(plan);
  const args = [...confinementArguments(), ...renderArguments(plan, descriptors)];
  await using files = await openOutputFiles(descriptors, signal);
  using waiting = await openWaitingChannels(descriptors);
  const child = launch(args, descriptors, new Map([...files.fds, ...waiting.ends]));
  const traceListeners = new Set<(line: string) => void>();
  const lastWords = collectLastWords(streamOf(child, 2), (line) => {
    if (!TRACE.test(line)) return false;
    for (const take of traceListeners) take(line);
    return true;
  });
  const listeners = new Set<(event: QmpEvent) => void>();
  let shutdownReason = '';
  let asked = false;

  const ended = new Promise<QemuEnd>((resolve) => {
    child.once('error', (error) => resolve({ reason: 'crash', detail: error.message }));
    child.once('close', (code, signal) => {
      const end = (): void => resolve(endOf({ code, signal, shutdownReason, asked, lastWords: lastWords() }));
      void waiting.drained().then(end);
    });
  });
  let qmp: Qmp | undefined;
  const quit = async (): Promise<void> => {
    asked = true;
    await terminate({ child, qmp, ended });
  };
  try {
    qmp = await openQmp(streamOf(child, FIRST_DESCRIPTOR), (event) => {
      if (event.event === 'SHUTDOWN') shutdownReason = String(event.data['reason']);
      for (const take of listeners) take(event);
    });
    const unfit = tooOld(qmp.version);
    if (unfit !== undefined) throw new EngineError(unfit);
    await makeSteps(qmp, plan.lateSteps, signal);
    waiting.makeWait();
  } catch (error) {
    await quit();
    if (error instanceof EngineError) throw error;
    throw explainStart(withPlanPaths(lastWords() || (await ended).detail, descriptors));
  }
  log.info(`QEMU ${qmp.version.join('.')} runs as pid ${child.pid}`);
  const onEvent: Qemu['onEvent'] = (take) => {
    listeners.add(take);
    return () => void listeners.delete(take);
  };
  const onTrace: Qemu['onTrace'] = (take) => void traceListeners.add(take);
  const channels = new Map([...channelsOf(child, descriptors), ...waiting.streams]);
  return { pid: child.pid ?? 0, qmp, channels, ended, onEvent, onTrace, quit };
}

function launch(
  args: readonly string[],
  descriptors: readonly Descriptor[],
  ends: ReadonlyMap<string, number>,
): ChildProcess {
  const inherited = descriptors.map((one) => {
    if (one.use === 'given' || one.use === 'handed') return one.fd;
    return ('id' in one ? ends.get(one.id) : undefined) ?? ('pipe' as const);
  });
  const [command, ...words] = commandLine(args);
  log.debug(`starting ${[command, ...words].map((word) => JSON.stringify(word)).join(' ')}`);
  // a session of its own: a Ctrl-C at the terminal is the VMM's to handle
  const stdio = ['ignore', 'ignore', 'pipe', ...inherited] as const;
  return spawn(command, words, { stdio: [...stdio], env: environment(), detached: true });
}

/** The kernel's word counts from setpriv on: a VMM that was killed before must not leave a QEMU either. */
const UNLESS_ORPHAN = '[ "$PPID" = "$0" ] && exec "$@"';

/** QEMU must not outlive the VMM, not even one that was killed: the kernel sees to it where it can. */
function commandLine(args: readonly string[]): [string, ...string[]] {
  const qemu = findProgram('qemu-system-x86_64', process.env['NEPHOS_QEMU']);
  if (qemu === undefined) {
    throw new EngineError(
      'qemu-system-x86_64 was not found: install QEMU (8.2 or newer), or name it in NEPHOS_QEMU',
    );
  }
  if (process.platform !== 'linux') return [qemu, ...args];
  const setpriv = findProgram('setpriv');
  if (setpriv === undefined) throw new EngineError('setpriv was not found: install util-linux');
  return [
    setpriv,
    ...userArguments(),
    '--pdeathsig',
    'KILL',
    '--',
    '/bin/sh',
    '-c',
    UNLESS_ORPHAN,
    String(process.pid),
    qemu,
    ...args,
  ];
}

/** Nothing of the VMM's environment is the engine's business. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], LANG: 'C.UTF-8' };
}

function streamOf(child: ChildProcess, fd: number): Duplex {
  const stream: unknown = child.stdio[fd];
  if (!isDuplex(stream)) throw new EngineError('QEMU could not be started');
  return stream;
}

function isDuplex(value: unknown): value is Duplex {
  return typeof value === 'object' && value !== null && 'pipe' in value;
}

function channelsOf(child: ChildProcess, descriptors: readonly Descriptor[]): ReadonlyMap<string, Duplex> {
  const channels = new Map<string, Duplex>();
  for (const [index, one] of descriptors.entries()) {
    if (one.use === 'channel' && !one.waits) channels.set(one.id, streamOf(child, FIRST_DESCRIPTOR + index));
  }
  return channels;
}

interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly shutdownReason: string;
  readonly asked: boolean;
  readonly lastWords: string;
}

/** The reasons are QEMU's ShutdownCause (qapi/run-state.json). */
function endOf({ code, signal, shutdownReason, asked, lastWords }: Ending): QemuEnd {
  const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
  const detail = lastWords === '' ? how : `${how}: ${lastWords}`;
  if (asked) return { reason: 'quit', detail };
  if (code === 0 && shutdownReason === 'guest-shutdown') return { reason: 'power-off', detail };
  if (code === 0 && shutdownReason === 'guest-reset') return { reason: 'reset', detail };
  return { reason: 'crash', detail };
}
